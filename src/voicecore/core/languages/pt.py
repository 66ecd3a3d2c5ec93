"""Portuguese, as spoken in Brazil and in Portugal."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

PORTUGUESE = Language(
    acknowledgements=phrases("""
        mm, mm hm, mhm, mmhm, hm, hmm, m, aham, ahã, uhum, ah, oh, ah sim, ah tá
        sim, sim sim, é, ok, okay, okey, tá, tá bom, tá certo, está bem, está bom, tudo bem
        bom, bem, muito bem, certo, claro, com certeza, entendi, entendo, compreendo, percebo
        já percebi, percebi, perfeito, exato, exatamente, isso, isso mesmo, pois, pois é
        beleza, legal, verdade, é verdade, ótimo, interessante, sei
    """),
    fillers=phrases("hum, hã, ã, eh, ehm, hmm, tipo"),
    interruptions=phrases("""
        pare, pára, para para, chega, espera, espere, peraí, um momento, um momentinho
        um segundo, um minuto, um instante, com licença, desculpa
        desculpe, não não, cala a boca, silêncio, cancela, cancelar, está errado, tá errado
        não é isso, deixa eu falar, deixe me falar, me escuta
    """),
    answers=phrases("""
        sim, sim por favor, sim obrigado, sim obrigada, não, não obrigado, não obrigada, claro
        ok, tá, tá bom, está bem, pode ser, certo, correto, exato, isso, isso mesmo, talvez
        não sei, não tenho certeza, acho que sim, acho que não, nunca, nada, nenhum, nenhuma
        ainda não, com certeza, por favor, obrigado, obrigada
    """),
    whole=phrases("""
        olá, oi, bom dia, boa tarde, boa noite, obrigado, obrigada, muito obrigado, muito obrigada
        tchau, adeus, ajuda, outra vez, mais uma vez
    """),
    closings=phrases("""
        por favor, obrigado, obrigada, muito obrigado, muito obrigada, tchau, adeus
        até logo, é só isso, só isso, é tudo, mais nada, ponto com, ponto br, ponto pt, ponto org
    """),
    never_last=phrases("""
        os, uma, uns, umas, e, ou, mas, porque eu, porém, embora, do, da, dos, das, no, nas, nos
        ao, aos, pelo, pela, num, numa, meu, minha, meus, minhas, seu, sua, seus, suas, nosso
        nossa, cada, muito, eu, eu quero, quero, queria, eu queria, gostaria, gostaria de
        eu gostaria, preciso, preciso de, eu preciso, estou procurando, você pode, pode me
        poderia, e então, e depois, por exemplo, por causa de, meu nome é, meu número é
        me chamo, eu vou, vou
    """),
    seldom_last=phrases("""
        de, a, em, com, por, para, pra, sem, sobre, entre, desde, até, contra, o, as, um, na
        são, era, está, estão, estou, sou, tem, tenho, tinha, há, pode, posso, deve
        vai, ele, ela, eles, elas, nós, você, vocês, se, me, te, lhe, que, quem, qual, quando
        onde, como, então, também, mais, menos, esse, essa, este, esta, aquele, aquela
        acho que, penso que, meu nome, meu número
    """),
    questions=phrases("""
        que, o que, qual, quais, quando, onde, como, por que, quem, quanto, quanta, quantos
        a que, de que, é, está, tem, há, pode, posso, poderia, de onde, cadê
    """),
    conditions=phrases("se eu, se o, se a, se não, quando eu, embora, assim que, caso"),
    thing_openers=phrases("""
        o, os, as, um, uma, meu, minha, meus, minhas, seu, sua, no, na, em, com, para, depois
        antes
    """),
    digits=phrases("zero, um, dois, três, quatro, cinco, seis, meia, sete, oito, nove, duplo"),
    letter_words=phrases("a, e, o, é, à"),
    symbols=phrases("ponto, arroba, hífen, traço, barra, como em"),
    abbreviations=Abbreviations(
        never=words("sr. sra. srta. srs. dr. dra. eng. exmo. exma. p.ex. ex. av. r. d."),
        maybe=words("etc. ltda. s.a. a.c. d.c. aprox."),
        numbered=words("n.º. nº. núm. pág. págs. cap. tel. art."),
    ),
)
