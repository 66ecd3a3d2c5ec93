"""The story the responder tells: long enough (about two minutes) to interrupt it."""

from __future__ import annotations

from typing import Final

STORY: Final = (
    "Very well, here is a long one. Interrupt me whenever you like. "
    "On a rock off a cold coast stood a lighthouse, and in it lived a woman called Marta "
    "and a clock that was always four minutes slow. "
    "Every evening Marta climbed the hundred and twelve steps, lit the lamp, and wrote the hour "
    "in a book. And every evening she added four minutes, because she knew her clock. "
    "One autumn a young inspector came out by boat. He had a polished watch and a list of faults. "
    "He counted the steps and found that there were a hundred and eleven. "
    "He held his watch beside the clock and frowned. "
    "A lighthouse, he said, must keep the right time. He opened the case, turned a small screw, "
    "and went back to the mainland, very pleased. "
    "That night Marta climbed the stairs, looked at the clock, and added four minutes, "
    "as she had done for thirty years. So the lamp was lit too late for the first time. "
    "Only four minutes. But in those four minutes a fishing boat, the Little Heron, was coming "
    "home in the dark with six people on board, and its captain steered by Marta's lamp. "
    "He looked for the light where it ought to be, and there was nothing but rain. "
    "So he did what nobody does on that coast. He stopped the engine and listened. "
    "And because it was quiet, he heard a bell. It was a small bell, slow and far away, "
    "and it was on the wrong side of the boat. "
    "It was the bell on the reef, which the charts said had been taken down years ago. "
    "The captain turned hard, and the Little Heron slid past the rocks so closely that the cook "
    "could have touched the seaweed. Then the lamp came on, and they were safe. "
    "In the morning the captain rowed over to thank Marta for lighting the lamp late. "
    "With the light, he said, he would have kept the engine running, and he would never have heard "
    "the bell, for the storm had pushed him far off his course. "
    "Marta thought about that for a long while. Then she climbed the stairs, counting aloud, "
    "and found a hundred and twelve steps, because the inspector had not counted the one "
    "that he was standing on. "
    "She turned the small screw back again, until the clock was four minutes slow. "
    "And in her book, under the date, she wrote one line. "
    "It is good to be on time, but now and then it is better to stop and listen. "
    "That is the end of the story."
)
