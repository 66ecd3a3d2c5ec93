"""What an agent may say: sentences short and long, with numbers, abbreviations and signs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

OWN: Final = (
    "Sure, I can help you with that.",
    "Your appointment is on Tuesday, March 14th, at 10:30 a.m., with Dr. Smith.",
    "Please call 555-1234 or 1-800-555-0199 before 5:30 p.m. today.",
    "The total comes to $1,249.99, which includes 20% tax and $12.50 for shipping.",
    "In 2024 we served 1,250,000 customers, i.e. about 7% more than in 1999.",
    "My mother-in-law's well-known recipe needs 3/4 of a cup of sugar, 2 eggs & some flour.",
    "No.",
    "Yes, of course!",
    "One moment, please... I'm looking for your order.",
    "Thank you for waiting. I have found your booking: it is for two adults and one child, "
    "leaving London on the 3rd of June and coming back on the 17th.",
    "If you would like to change your flight, press 1; to cancel it, press 2; for anything else, "
    "stay on the line and somebody from our team will be with you as soon as possible.",
    "NASA and the FBI are in the U.S., the BBC is not.",
    "The address is 221B Baker St., London, and the door code is 4 0 7 2.",
    "I would have been there if it had not been for the rain; that was a shame.",
    "It's the first of the month, so the rent of 950 dollars is due by the end of the day.",
    "To reset your password, open the settings, choose security, and follow the steps on screen.",
    "Well, to be honest, I don't know whether they are open on Sundays or not.",
    "Your confirmation code is A B 7 3 9 K.",
    "We have a table for four at seven, a table for two at half past eight, and nothing later.",
    "The temperature tomorrow will be between 18 and 23 degrees, with a 40% chance of rain.",
    "Unfortunately the communication infrastructure was temporarily unavailable.",
    "Could you spell your last name for me, please?",
    "He said “go”, she said “stay”, and in the end nobody — nobody at all — did anything.",
    "The next train to Edinburgh leaves from platform 9 at 14:05 and takes 4 hours and 20 minutes.",
    "I see two charges: one of $35.00 on May 2nd, and another of $17.25 on May 9th. "
    "Which of them would you like to dispute?",
    "Please hold on while I transfer you to a specialist who knows more about international "
    "shipping regulations than I do, because I would not want to tell you anything wrong.",
    "Okay. Let's start with your date of birth.",
    "That item weighs 2.5 kg, measures 30 by 40 cm, and costs €89.90.",
    "Prof. O'Brien and Mrs. van der Berg will join us at approx. noon.",
    "Really? That is wonderful news, congratulations to you and to the whole family!",
)


def texts(cases: Path | None) -> list[str]:
    """``OWN`` and, where there is a folder of recordings, what is said in its prompts."""
    prompts: list[str] = []
    if cases is not None and (cases / "speech_asterisk8k" / "transcripts.tsv").exists():
        lines = (cases / "speech_asterisk8k" / "transcripts.tsv").read_text().splitlines()
        prompts = [" ".join(line.split("\t")[-1].split()) for line in lines if "\t" in line]
    return [*OWN, *dict.fromkeys(prompts)]
