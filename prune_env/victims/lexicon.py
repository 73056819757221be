"""The words of the embedded corpus, about 310 of them, sorted by the place they take in a sentence.

A word stands in one place only where the attacks rely on it: a subordinator opens a subordinate clause and occurs
nowhere else, so plain text can be taken apart again without a parser.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NEGATIVE: Final = 0
POSITIVE: Final = 1

SENTIMENT_ADJECTIVES: Final = {
    NEGATIVE: _words(
        "dull bland tedious clumsy lifeless shallow hollow stale awful dreadful tiresome messy pointless "
        "grating lazy contrived sloppy dismal muddled flat crude wooden forced weak vapid"
    ),
    POSITIVE: _words(
        "superb lively tender graceful witty vivid gripping moving charming brilliant radiant inventive "
        "delightful sincere dazzling assured touching thrilling elegant rich clever honest splendid warm fresh"
    ),
}
LEANING_ADJECTIVES: Final = {
    NEGATIVE: _words("odd loud slow dark dense raw"),
    POSITIVE: _words("quiet simple modest serious familiar strange"),
}
AMBIGUOUS_ADJECTIVES: Final = LEANING_ADJECTIVES[NEGATIVE] + LEANING_ADJECTIVES[POSITIVE]

SENTIMENT_VERBS: Final = {
    NEGATIVE: _words("bores irritates disappoints exhausts annoys insults loses fails"),
    POSITIVE: _words("charms delights moves rewards thrills enchants impresses wins"),
}
LEANING_VERBS: Final = {NEGATIVE: _words("puzzles unsettles"), POSITIVE: _words("surprises provokes")}
AMBIGUOUS_VERBS: Final = LEANING_VERBS[NEGATIVE] + LEANING_VERBS[POSITIVE]

NOUNS: Final = _words(
    "film movie story plot script acting dialogue camera music score ending finale opening cast hero villain "
    "romance comedy drama thriller sequel remake director editing pacing setting humor performance soundtrack "
    "premise narration choreography costume animation documentary western fable mystery satire prologue "
    "lighting photography"
)
MODIFIERS: Final = _words("new latest first second short long french british modern central entire little famous early")
AUDIENCES: Final = _words("audience viewer viewers crowd family children critics fans crew")
OBJECT_OWNERS: Final = _words("the its every our")
ADVERBS: Final = _words(
    "truly rather quite very simply mostly deeply often almost somehow really surely utterly fairly plainly"
)
COPULAS: Final = _words("is feels seems remains looks proves")
GIVERS: Final = _words("offers has delivers presents")
PHRASES: Final = (
    "from start to finish",
    "in every scene",
    "on the screen",
    "at heart",
    "for two hours",
    "without a doubt",
    "in its way",
    "in the middle",
    "over the years",
    "to this day",
    "by the end",
    "in most respects",
    "before the credits",
    "against all odds",
    "for its age",
)

SUBORDINATORS: Final = _words("when if as because while after once although")
CLAUSE_SUBJECTS: Final = _words("you we they i people others many some")
CLAUSE_VERBS: Final = _words("watch see know leave remember think discuss compare enter notice read wait expect visit")
CLAUSE_ENDINGS: Final = (
    "it",
    "it again",
    "the book",
    "the theater",
    "the trailer",
    "about it",
    "for more",
    "the reviews",
    "with friends",
    "at home",
    "the original",
    "it twice",
    "on sunday",
    "at night",
    "the credits",
    "a poster",
    "in line",
    "their friends",
)

ARCHAIC_WORDS: Final = {
    "is": "standeth",
    "feels": "feeleth",
    "seems": "seemeth",
    "remains": "abideth",
    "looks": "appeareth",
    "proves": "proveth",
    "offers": "offereth",
    "has": "hath",
    "delivers": "bringeth",
    "presents": "sheweth",
    "you": "thou",
    "we": "thee",
    "our": "thy",
    "this": "yonder",
    "very": "most",
    "truly": "verily",
    "often": "oft",
    "almost": "nigh",
    "surely": "belike",
    "every": "each",
    "movie": "play",
    "film": "play",
    "story": "tale",
    "music": "minstrelsy",
    "ending": "parting",
    "before": "ere",
    "over": "o'er",
    "people": "folk",
    "to": "unto",
}
ARCHAIC_OPENERS: Final = ("lo ,", "forsooth ,", "hark ,", "prithee ,", "methinks", "alack ,", "behold ,", "in sooth ,")
ARCHAIC_CLOSERS: Final = ("good sir", "my lord", "gentle reader", "i swear", "by my troth")

STRUCTURE_WORDS: Final = _words("the a this its of not and but , .")


def vocabulary() -> tuple[str, ...]:
    """Returns every word the corpus and its attacks can produce, without repetition, in a fixed order."""
    groups = (
        STRUCTURE_WORDS,
        *SENTIMENT_ADJECTIVES.values(),
        AMBIGUOUS_ADJECTIVES,
        *SENTIMENT_VERBS.values(),
        AMBIGUOUS_VERBS,
        NOUNS,
        MODIFIERS,
        AUDIENCES,
        OBJECT_OWNERS,
        ADVERBS,
        COPULAS,
        GIVERS,
        PHRASES,
        SUBORDINATORS,
        CLAUSE_SUBJECTS,
        CLAUSE_VERBS,
        CLAUSE_ENDINGS,
        tuple(ARCHAIC_WORDS.values()),
        ARCHAIC_OPENERS,
        ARCHAIC_CLOSERS,
    )
    return tuple(dict.fromkeys(word for group in groups for entry in group for word in entry.split()))
