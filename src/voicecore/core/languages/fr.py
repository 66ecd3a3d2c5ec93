"""French."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

FRENCH = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, hum, m, ah, oh, ah oui, ah bon, ah d'accord
        oui, ouais, ouaip, oui oui, ok, okay, d'accord, bien, très bien, c'est bien, bon
        je vois, je comprends, compris, entendu, bien sûr, exactement, exact, tout à fait
        c'est ça, voilà, parfait, super, génial, effectivement, en effet, c'est vrai, vraiment
    """),
    fillers=phrases("euh, heu, hum, ben, bah, hein, beh"),
    interruptions=phrases("""
        stop, arrêtez, arrête, attendez, attends, une minute, un instant
        un moment, une seconde, excusez moi, excuse moi, pardon, non non, taisez vous
        tais toi, silence, ça suffit, annulez, annuler, c'est faux, ce n'est pas ça
        laissez moi, laisse moi, écoutez moi
    """),
    answers=phrases("""
        oui, ouais, oui merci, oui s'il vous plaît, oui bien sûr, non, non merci, si, d'accord
        ok, okay, bien sûr, exact, exactement, c'est ça, c'est exact, peut être, je ne sais pas
        je sais pas, aucune idée, je crois, je crois que oui, je pense, jamais, rien, aucun
        pas encore, pas vraiment, volontiers, avec plaisir, ça va, ça me va, merci
    """),
    whole=phrases("""
        bonjour, bonsoir, salut, allô, merci, merci beaucoup, au revoir, à bientôt, encore une fois
    """),
    closings=phrases("""
        s'il vous plaît, s'il te plaît, merci, merci beaucoup, merci bien, au revoir
        c'est tout, ce sera tout, bonne journée, à bientôt, point com, point fr, point org, point be
    """),
    never_last=phrases("""
        le, les, un, une, des, du, et, ou, mais, car, parce que, parce qu, puisque, que je, si je
        mon, ma, mes, ton, ta, tes, son, sa, ses, notre, votre, vos, leur, leurs, nos, cette, ces
        je, j'ai, j'aimerais, je voudrais, je veux, je souhaite, je cherche, j'ai besoin
        j'ai besoin de, j'ai besoin d'un, j'ai besoin d'une, nous voudrions, on voudrait
        pouvez vous, pourriez vous, est ce que, est ce que vous, qu'est ce que, il y a
        et puis, et alors, ou bien, au, aux, afin de, à cause de, par exemple, très
        je suis, je vais, mon numéro est, mon nom est, je m'appelle
    """),
    seldom_last=phrases("""
        de, à, en, dans, sur, sous, pour, par, avec, sans, chez, vers, entre, depuis, pendant
        avant, après, contre, est, sont, était, a, ont, avait, peut, peux, dois, doit, va, vais
        il, elle, on, nous, vous, ils, elles, tu, la, l, d, c'est, ce, ne, que, qui, quoi, dont
        quand, comme, si, alors, donc, puis, aussi, plus, moins, quel, quelle, quels, quelles
        je pense que, je crois que, c'est à dire, mon numéro, mon nom
    """),
    questions=phrases("""
        est ce, qu'est, que, quel, quelle, quels, quelles, qui, où, quand, comment, pourquoi
        combien, avez, pouvez, pourriez, puis, y a, à quelle, c'est quoi
    """),
    conditions=phrases("si, quand, lorsque, dès que, bien que, comme"),
    thing_openers=phrases("""
        le, la, les, un, une, des, mon, ma, mes, votre, vos, notre, nos, sur, dans, avec, pour
        après, avant, chez
    """),
    digits=phrases("zéro, un, deux, trois, quatre, cinq, six, sept, huit, neuf, double"),
    letter_words=phrases("a, à, y, l, d, c, n, s"),
    symbols=phrases("point, arobase, tiret, slash, double, comme dans"),
    abbreviations=Abbreviations(
        never=words("m. mm. mme. mlle. mgr. me. st. ste. p.ex. ex. c.-à-d. env. av. bd. boul."),
        maybe=words("etc. j.-c. s.a. apr. janv. févr. juill. sept. oct. nov. déc."),
        numbered=words("n°. art. chap. p. pp. tél. fig."),
    ),
)
