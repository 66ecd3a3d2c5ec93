"""Italian."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

ITALIAN = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, m, ah, oh, ah sì, ah ok, ah ecco
        sì, si, sì sì, ok, okay, okey, va bene, bene, molto bene, d'accord, d'accordo, certo
        certamente, capisco, ho capito, capito, chiaro, esatto, esattamente, giusto, perfetto
        ottimo, benissimo, infatti, è vero, vero, davvero, interessante, vedo
    """),
    fillers=phrases("ehm, eh, em, um, mah, beh, be, boh, cioè, allora"),
    interruptions=phrases("""
        basta, fermo, ferma, fermati, si fermi, stop, aspetta, aspetti, un momento, un attimo
        un secondo, un minuto, scusa, scusi, mi scusi, no no, zitto, silenzio, annulla
        è sbagliato, non è così, fammi parlare, mi faccia parlare, mi lasci, mi ascolti
    """),
    answers=phrases("""
        sì, si, sì grazie, sì per favore, sì certo, no, no grazie, certo, ok, va bene, d'accordo
        esatto, giusto, corretto, forse, non lo so, non so, non sono sicuro, non sono sicura
        credo di sì, credo di no, penso di sì, mai, niente, nulla, nessuno, non ancora
        non proprio, volentieri, per favore, grazie
    """),
    whole=phrases("""
        ciao, buongiorno, buonasera, salve, pronto, grazie, grazie mille, arrivederci, aiuto
        ancora una volta
    """),
    closings=phrases("""
        per favore, per piacere, grazie, grazie mille, molte grazie, arrivederci, ciao
        è tutto, nient'altro, basta così, punto it, punto com, punto org, punto net
    """),
    never_last=phrases("""
        il, gli, uno, una, e, o, ma, però, perché io, oppure, anche se, del, della, dei, degli
        delle, al, alla, ai, agli, alle, dal, dalla, nel, nella, nei, nelle, sul, sulla, col
        il mio, la mia, i miei, le mie, il suo, la sua, ogni, molto, io
        vorrei, voglio, ho bisogno, ho bisogno di, mi serve, mi piacerebbe, cerco, sto cercando
        può, potrebbe, mi può, mi potrebbe, e poi, e quindi, ad esempio, per esempio
        a causa di, mi chiamo, il mio numero è, il mio nome è
    """),
    seldom_last=phrases("""
        di, a, da, in, con, su, per, tra, fra, senza, verso, sotto, sopra, contro, durante
        la, le, lo, i, un, è, sono, era, ha, hanno, ho, aveva, c'è, ci sono, deve, devo, posso
        lui, lei, noi, voi, loro, si, mi, ti, ci, vi, che, chi, cui, quale, quando, dove, come, se
        quindi, poi, anche, più, meno, non, questo, questa, quello, quella, mio, mia, suo, sua
        credo che, penso che, il mio numero, il mio nome
    """),
    questions=phrases("""
        che, cosa, che cosa, quale, quali, quando, dove, come, perché, chi, quanto, quanta, quanti
        a che, di che, è, c'è, ci sono, ha, avete, può, posso, potrebbe, di dove, dov'è, cos'è
    """),
    conditions=phrases("se, quando, appena, anche se, siccome"),
    thing_openers=phrases("""
        il, lo, la, i, gli, le, un, uno, una, il mio, la mia, del, della, nel, nella, con, per
        dopo, prima
    """),
    digits=phrases("zero, uno, due, tre, quattro, cinque, sei, sette, otto, nove, doppio"),
    letter_words=phrases("a, e, i, o, è"),
    symbols=phrases("punto, chiocciola, trattino, barra, doppia, come in"),
    abbreviations=Abbreviations(
        never=words("""
            sig. sigg. sig.ra. sig.na. dott. dott.ssa. ing. avv. arch. geom. rag. p.es. es. s.
            p.za. v.le.
        """),
        maybe=words("ecc. s.p.a. s.r.l. a.c. d.c. circa"),
        numbered=words("n. pag. pagg. cap. tel. art."),
    ),
)
