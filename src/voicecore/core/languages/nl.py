"""Dutch."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

DUTCH = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, m, aha, ah, oh, o, oh ja, ah ja, ach
        ja, jawel, ja ja, jaja, jep, ok, okay, oké, okee, goed, heel goed, prima, mooi, fijn
        precies, juist, klopt, dat klopt, inderdaad, natuurlijk, zeker, duidelijk
        ik snap het, snap ik, ik begrijp het, begrepen, begrijp ik, is goed, dat is goed
        leuk, perfect, echt, echt waar, interessant
    """),
    fillers=phrases("eh, euh, uh, ehm, uhm, um, hm, nou ja, tja"),
    interruptions=phrases("""
        stop, wacht, ho, moment, ogenblik, momentje, een seconde, sorry, pardon
        neem me niet kwalijk, nee nee, hou op, houd op, stil, stilte, genoeg, annuleer, annuleren
        dat klopt niet, dat is fout, laat me, laat mij, luister eens
    """),
    answers=phrases("""
        ja, ja graag, ja hoor, jazeker, nee, nee hoor, nee bedankt, nee dank je, nee dank u
        oké, ok, goed, is goed, prima, graag, klopt, dat klopt, precies, juist, natuurlijk
        misschien, weet ik niet, ik weet het niet, geen idee, ik denk het, ik denk het wel
        ik denk het niet, nooit, niets, niks, geen, nog niet, niet echt, bedankt, alsjeblieft
    """),
    whole=phrases("""
        hallo, hoi, goedemorgen, goedemiddag, goedenavond, goeiedag, bedankt, dank je, dank u
        dank u wel, tot ziens, dag, help, nog een keer
    """),
    closings=phrases("""
        alsjeblieft, alstublieft, bedankt, dank je, dank u, dank je wel, dank u wel, dankjewel
        tot ziens, doei, dat is alles, dat was het, dat was alles
        punt nl, punt com, punt be, punt org
    """),
    never_last=phrases("""
        de, een, en, of, maar, want, omdat, dat ik, hoewel, terwijl, zoals, als ik
        mijn, jouw, uw, ons, onze, hun, elke, ieder, iedere, heel, ik
        ik wil, ik wil graag, ik zou, ik zou graag, ik wou, ik heb een, ik zoek, ik moet
        kunt u, kun je, kan je, zou u, zou je, heeft u, en dan, of anders, bijvoorbeeld
        vanwege, door middel van, mijn naam, mijn naam is, mijn nummer, mijn nummer is, ik ben
    """),
    seldom_last=phrases("""
        van, in, op, met, voor, naar, bij, uit, tot, over, onder, tussen, door, tegen, zonder
        om, na, sinds, tijdens, te, aan, is, zijn, was, waren, ben, heb, heeft, had, kan, moet
        zal, zou, wil, wordt, word, hij, zij, ze, wij, we, jij, je, u, het, dat, die, deze, dit
        dan, dus, ook, nog, niet, geen, zo, als, hoe, wat, wie, waar, wanneer, welke, meer
        ik denk, ik bedoel, ik geloof
    """),
    questions=phrases("""
        wat, wie, waar, waarom, wanneer, hoe, hoeveel, welke, welk, is, zijn, heeft, hebben
        kan, kunt, kun, mag, moet, gaat, hebt
    """),
    conditions=phrases("als, indien, omdat, hoewel, zodra, wanneer ik"),
    thing_openers=phrases(
        "de, het, een, mijn, uw, jouw, onze, ons, in, op, met, voor, na, bij, van, naar"
    ),
    digits=phrases("nul, een, één, twee, drie, vier, vijf, zes, zeven, acht, negen, dubbel"),
    letter_words=phrases("o, u"),
    symbols=phrases("punt, at, apenstaartje, streepje, liggend streepje, dubbel, zoals in"),
    abbreviations=Abbreviations(
        never=words("""
            dhr. mevr. mw. drs. ir. ing. mr. bijv. d.w.z. o.a. m.b.t. t.a.v. i.v.m. n.a.v. t.o.v.
            ca. nl. st. incl. excl. evt. resp.
        """),
        maybe=words("enz. e.d. b.v. n.v. jan. feb. apr. aug. sept. okt. nov. dec."),
        numbered=words("blz. afb. hfst. tel. art."),
    ),
)
