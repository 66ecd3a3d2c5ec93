"""German."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

GERMAN = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, m, aha, ah, ach, ach so, achso, oh, ah ja, ach ja
        ja, jo, jap, jep, jup, ja ja, ja genau, genau, richtig, stimmt, das stimmt
        ok, okay, okey, gut, sehr gut, alles klar, klar, na klar, schön, prima, super, toll
        verstehe, ich verstehe, verstanden, natürlich, sicher, eben, interessant, in ordnung
        wirklich, echt, perfekt
    """),
    fillers=phrases("äh, ähm, öh, öhm, ehm, eh, em, hm, hmm, tja, na ja, naja"),
    interruptions=phrases("""
        stopp, stop, halt stopp, warte, warten sie, moment, augenblick, eine sekunde
        entschuldigung, entschuldigen sie, nein nein, ne ne, nee nee, hör auf, hören sie auf
        aufhören, abbrechen, ruhe, das reicht, es reicht, das ist falsch, stimmt nicht
        darf ich mal, lassen sie mich, lass mich, von vorne
    """),
    answers=phrases("""
        ja, jo, ja bitte, ja gerne, ja gern, gerne, gern, nein, nö, nee, nein danke, danke nein
        doch, genau, richtig, stimmt, ok, okay, klar, natürlich, vielleicht, weiß nicht
        ich weiß nicht, weiß ich nicht, keine ahnung, bitte, danke, das passt, passt, in ordnung
        ich glaube schon, ich denke schon, nichts, keine, keiner, noch nicht, nicht wirklich
    """),
    whole=phrases("""
        hallo, hallo zusammen, hi, hey, guten tag, guten morgen, guten abend, grüß gott
        servus, moin, danke, danke schön, vielen dank, tschüss, auf wiederhören
        auf wiedersehen, hilfe, nochmal, noch einmal
    """),
    closings=phrases("""
        bitte, danke, vielen dank, danke schön, dankeschön, danke sehr, tschüss, tschüs
        auf wiedersehen, auf wiederhören, das ist alles, das war's, das wär's, das war alles
        punkt de, punkt com, punkt at, punkt ch, punkt org, punkt net
    """),
    never_last=phrases("""
        der, ein, eine, einen, einem, einer, eines, und, oder, aber, sondern, weil
        denn, dass, ob, wenn, falls, obwohl, damit ich, sowie, als ob
        mein, meine, meinen, meinem, meiner, dein, deine, ihre, unser, unsere, unseren
        im, am, zum, zur, vom, beim, ins, fürs, ich
        ich möchte, ich will, ich hätte gern, ich hätte gerne, ich würde, ich würde gern
        ich würde gerne, ich brauche, ich bin, ich habe, ich wollte, wir möchten, wir brauchen
        können sie, könnten sie, kannst du, könntest du, können sie bitte
        könnten sie bitte, kannst du bitte, haben sie, gibt es, und dann, und zwar
        meine nummer, mein name, zum beispiel
    """),
    seldom_last=phrases("""
        in, auf, von, mit, für, bei, nach, aus, zu, über, unter, zwischen, durch, gegen, ohne
        um, vor, hinter, neben, seit, bis, wegen, an, ab, das, den, dem, des, die, dieser, diese
        dieses, diesen, ist, sind, war, waren, bin, habe, hat, hatte, kann, könnte, muss
        soll, will, möchte, würde, wird, werden, er, sie, wir, man, dann, also, noch
        auch, nur, nicht, kein, keinen, so, wie, was, wer, wo, wann, welche, welcher, welchen
        ich glaube, ich denke, ich meine, damit, als, sehr
    """),
    questions=phrases("""
        was, wer, wie, wo, woher, wohin, wann, warum, wieso, welche, welcher, welches, welchen
        ist, sind, hat, haben, kann, können, könnten, gibt, darf, muss, wird, womit, worum
    """),
    conditions=phrases("wenn, falls, weil, obwohl, sobald, da ich"),
    thing_openers=phrases("""
        der, die, das, ein, eine, einen, mein, meine, meinen, ihr, ihre, unser, unsere, auf
        von, mit, für, bei, nach, aus, im, am, in, vor
    """),
    digits=phrases(
        "null, eins, ein, zwei, zwo, drei, vier, fünf, sechs, sieben, acht, neun, doppel"
    ),
    letter_words=phrases("o"),
    symbols=phrases("punkt, at, ät, bindestrich, minus, unterstrich, schrägstrich, doppel, wie in"),
    abbreviations=Abbreviations(
        never=words("""
            z.b. d.h. u.a. i.d.r. o.g. s.o. s.u. v.a. z.t. i.a. bzgl. bzw. ca. evtl. ggf. inkl.
            exkl. zzgl. sog. vgl. fr. hr. hrn. frl. st. dipl. ing. gebr. mind. allg.
            ggü. einschl. geb. jew. lfd. z. u. d. o. v. i. s.
        """),
        maybe=words("usw. u.s.w. etc. u.ä. o.ä. usf. jh. mio. mrd. std. sek. mwst."),
        numbered=words("seite s. kap. bd. abb. ziff. hausnr. tel. abs. max. min."),
        endings=("str",),
        ordinals=True,
    ),
)
