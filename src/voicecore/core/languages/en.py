"""English."""

from __future__ import annotations

from voicecore.core.languages.abbreviations import Abbreviations, words
from voicecore.core.languages.language import Language
from voicecore.core.words import phrases

ENGLISH = Language(
    acknowledgements=phrases("""
        mm, mm hm, mm hmm, mhm, mhmm, mmhm, mmhmm, mm mm, m, hm, hmm, hum
        uh huh, uhhuh, aha, ah ha, ah, oh, ooh, wow
        yeah, yea, yeh, yah, ya, yep, yup, yes
        ok, okay, okey, okey dokey, o k, kay
        right, all right, alright, that's right, sure, sure thing, of course, fine
        i see, oh i see, got it, gotcha, i got it, i got you, understood, makes sense
        that makes sense, good, very good, great, cool, nice, perfect, excellent, lovely
        exactly, absolutely, definitely, totally, indeed, true, that's true, fair enough
        interesting, really, no way, go on, go ahead
    """),
    fillers=phrases("um, uh, er, erm, ehm, uhm, em, eh, umm, uhh, err, hmm, hm"),
    interruptions=phrases("""
        stop, wait, hold on, hang on, hold up
        excuse me, pardon me, no no, one moment, one second, just a moment, just a second
        just a minute, give me a second, give me a minute, let me finish, let me speak
        be quiet, shut up, pause, cancel, never mind, nevermind
        that's enough, that is enough, that's wrong, that is wrong, that's not right
        that's not what i, not what i asked, listen to me, start over
    """),
    answers=phrases("""
        yes, yeah, yea, yep, yup, yes please, yes it is, yes i do, yes i am, yes i did, yes i have
        no, nope, nah, no thanks, no thank you, no i don't, no i'm not, no i didn't, no i haven't
        ok, okay, sure, of course, right, correct, that's correct, that's right, exactly, please do
        absolutely, definitely, not really, not yet, maybe, never, none, neither, nothing
        i don't know, i'm not sure, i think so, i don't think so, i guess so, it is, i do, i am
        please, thanks, thank you, sounds good, that's fine, that works, fine, not now
    """),
    whole=phrases("""
        hello, hello there, hi, hi there, hey, hey there, good morning, good afternoon, good evening
        how are you, thanks, thank you, thank you very much, bye, goodbye, good bye, bye bye
        help, repeat, repeat that, repeat please, say that again, once again
    """),
    closings=phrases("""
        please, thanks, thank you, thank you very much, thanks a lot, bye, goodbye, good bye
        that's all, that is all, that's it, that will be all, nothing else
        dot com, dot org, dot net, dot edu, dot gov, dot uk
    """),
    never_last=phrases("""
        a, an, the, and, or, but, nor, because, cause, than, if, unless, although, whether, whereas
        while, until, as, such as, as well as, including, regarding
        my, your, our, their, its, every, whose, very, i
        i'm, i'll, i've, i'd, you're, you've, you'll, he's, she's, it's, we're, we've, we'll
        they're, they've, they'll, that's, there's, here's, what's, where's, who's, how's, let's
        i want, i need, i would like, i'd like, we would like, we'd like, would like, i wish
        i want you, wanna, gonna, gotta, give me, show me, send me, let me, in order, instead of
        a lot of, kind of, sort of, a couple of, because of, due to, according to, the other
        can you please, could you please, would you please, will you please
        and then, and so, or maybe, but then, how much is, how many, at least, at most
    """),
    seldom_last=phrases("""
        of, to, for, from, with, without, in, on, at, by, into, onto, about, between, through
        under, over, after, before, against, during, towards, toward, per, via, near
        is, are, was, were, am, be, been, being, has, have, had, do, does, did
        can, could, will, would, shall, should, may, might, must
        isn't, aren't, wasn't, weren't, don't, doesn't, didn't, can't, couldn't, won't, wouldn't
        shouldn't, haven't, hasn't, hadn't
        we, he, she, they, who, which, that, this, these, those, when, where, how
        how about, some, any, his, her, so, then, also, just, only, not, like, more, most
        can you, could you, would you, will you, do you, are you, have you, did you, if you
        i think, i mean, i guess, i believe, i was, i hope, tell me, ask you, need, want, wants
        my name, my number, the number, my order, going, trying, looking, new, next, another
        few, several, own, same, is no, are no, have no, quite, rather, pretty, currently, usually
        probably, basically, get, buy, make, put, give, bring, say, enter, press, send, find, take
        add, use, spell, reach, include, receive, called, followed, starting, beginning, depending
        slightly, fairly, extremely
    """),
    questions=phrases("""
        what, what's, when, where, where's, which, who, who's, whose, why, how, how's
        is, are, was, were, do, does, did, can, could, will, would, should, have, has, may
    """),
    conditions=phrases("""
        if, unless, although, even though, whenever, as soon as, in case, once
        when i, when you, when we, when they, when he, when she, when it
        when the, when my, when done
    """),
    thing_openers=phrases("""
        the, a, an, my, your, our, their, his, her, its, at, after, before, from, in, on, for
        with, other
    """),
    digits=phrases("""
        zero, oh, o, one, two, three, four, five, six, seven, eight, nine, double, triple
    """),
    letter_words=phrases("a, i, o"),
    symbols=phrases("dot, at, dash, slash, underscore, hyphen, double, triple, as in, hashtag"),
    abbreviations=Abbreviations(
        never=words("st. gen. gov. sen. rep. capt. lt. col. sgt. rev. hon. mt. ft. messrs. mmes."),
        maybe=words("""
            ave. blvd. rd. dept. est. min. max. co. bros. esq. ph.d. m.d. b.a. m.a. d.c.
            jan. feb. mar. apr. jun. jul. aug. sept. oct. nov. dec.
            mon. tue. tues. wed. thu. thurs. fri. sat. sun.
        """),
        numbered=words("ext. apt. eq. par."),
    ),
)
