"""Spanish."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

SPANISH = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, m, ajá, aja, ah, oh, ah sí, ah vale
        sí, si, sí sí, ok, okay, okey, vale, bueno, bien, muy bien, está bien, de acuerdo
        claro, claro que sí, por supuesto, entiendo, ya, ya veo, ya entiendo, entendido
        comprendo, perfecto, exacto, exactamente, correcto, cierto, es verdad, genial, dale
        en serio, interesante
    """),
    fillers=phrases("eh, em, este, um, pues, o sea, mmm, ehm"),
    interruptions=phrases("""
        pare, para para, basta, espera, espere
        un momento, un momentito, un segundo, un minuto, perdón, perdone, disculpe, disculpa
        no no, cállate, cállese, silencio, cancela, cancelar, eso no es
        está mal, déjame, déjeme, escúchame, escúcheme
    """),
    answers=phrases("""
        sí, si, sí por favor, sí gracias, sí claro, no, no gracias, claro, vale, ok, de acuerdo
        correcto, exacto, eso es, así es, por supuesto, quizás, quizá, tal vez, no sé, no lo sé
        no estoy seguro, no estoy segura, creo que sí, creo que no, nunca, nada, ninguno
        ninguna, todavía no, aún no, está bien, por favor, gracias
    """),
    whole=phrases("""
        hola, buenas, buenos días, buenas tardes, buenas noches, gracias, muchas gracias
        adiós, hasta luego, ayuda, otra vez
    """),
    closings=phrases("""
        por favor, gracias, muchas gracias, adiós, hasta luego, eso es todo, nada más
        es todo, punto com, punto es, punto org, punto net, punto mx
    """),
    never_last=phrases("""
        el, los, las, una, unos, unas, y, e, o, u, pero, porque, sino, aunque, que yo
        mi, mis, tu, tus, su, sus, nuestro, nuestra, del, al, cada, muy, yo
        quiero, quisiera, necesito, me gustaría, quería, busco, estoy buscando, tengo que
        podría, puede usted, me puede, me podría, quiero que, es que, y entonces, o bien
        a causa de, por ejemplo, para que, mi número es, mi nombre es, me llamo, voy a
    """),
    seldom_last=phrases("""
        de, a, en, con, por, para, sin, sobre, entre, desde, hasta, hacia, según, contra, tras
        la, lo, un, es, son, era, está, están, estoy, soy, ha, han, he, había, hay, tengo, tiene
        puede, puedo, debe, va, voy, él, ella, ellos, nosotros, usted, ustedes, se, me, te, le
        que, qué, cual, cuál, quien, cuando, donde, como, si no, entonces, también, más, menos
        ese, esa, este, esta, creo que, pienso que, mi número, mi nombre
    """),
    questions=phrases("""
        qué, que, cuál, cuándo, dónde, cómo, por qué, quién, cuánto, cuánta, cuántos, cuántas
        a qué, de qué, es, está, hay, tiene, tienen, puede, puedo, podría, de dónde
    """),
    conditions=phrases("si yo, si me, si no, si el, si la, cuando, aunque, en cuanto"),
    thing_openers=phrases("""
        el, la, los, las, un, una, mi, mis, su, sus, nuestro, nuestra, en, con, para, desde
        sobre
    """),
    digits=phrases("cero, uno, un, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, doble"),
    letter_words=phrases("a, e, o, u, y"),
    symbols=phrases("punto, arroba, guion, guión, barra, doble, como en"),
    abbreviations=Abbreviations(
        never=words("sr. sra. srta. sres. d. dña. dr. dra. lic. ing. p.ej. ej. av. avda. gral."),
        maybe=words("etc. ud. uds. ee.uu. a.c. d.c. s.a. c.p. aprox."),
        numbered=words("núm. nº. n.º. pág. págs. cap. tel. art."),
    ),
)
