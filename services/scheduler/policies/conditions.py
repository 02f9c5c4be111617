"""Conditions of steps in CEL: a fully checked subset of the language, so that a condition cannot fail on any case.

The library checks neither paths nor types before it runs, so a condition is parsed and type-checked here first. Whatever could fail on
some case (an index, a division, an overflowing product) or take long (macros, regular expressions) is outside the subset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cel

from services.scheduler.domain.case import Case, Contact, ContactState, Debt
from services.scheduler.domain.promises import PromiseState

MOST_CHARACTERS = 1000
MOST_NODES = 50
LARGEST = 10**15
"""Keeps sums of as many amounts and numbers as a condition can hold within 64 bits."""

INT, TEXT, TRUTH, TEXTS, DEBTS = "number", "text", "truth", "list of texts", "list of debts"
SCHEMA: Mapping[str, str] = {
    "debts": DEBTS,
    "debt.total": INT, "debt.count": INT, "debt.currency": TEXT, "debt.products": TEXTS, "debt.jurisdictions": TEXTS,
    "case.spell": INT, "contacts.asked": INT, "contacts.said": INT, "contacts.failed": INT, "contacts.steps": TEXTS,
    "case.nonpayment_reason": TEXT, "promise.open": TRUTH, "promise.broken": TRUTH, "promise.count_made": INT, "promise.count_kept": INT,
    "promise.count_broken": INT,
}  # fmt: skip
"""What a condition may read. All of it changes only with facts and outcomes, never with time alone: `at` is for days."""
COMING = frozenset({"borrower", "score"})
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter", "has"})
_METHODS = frozenset({"startsWith", "endsWith", "contains"})
_TOKEN = re.compile(r"""\s*(?:(?P<number>[0-9]+)(?![A-Za-z0-9_.])|(?P<text>"[^"\\\n]*"|'[^'\\\n]*')|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+!<>()\[\],.]))""", re.VERBOSE)  # fmt: skip


class ConditionError(Exception):
    """A rejected condition; `error` is its code."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True, slots=True)
class CelCondition:
    """A checked condition; two with the same text are equal."""

    source: str
    program: Any = field(compare=False, repr=False)
    reads: frozenset[str] = field(compare=False, repr=False)
    """Paths used: converting everything a condition can read into the library's form takes six times as long as running it."""

    answered: list[tuple[dict[str, Any], bool]] = field(default_factory=list, compare=False, repr=False)
    """The last input and its answer: a plan evaluates a case before and after what is due, which seldom changes the input."""

    def holds(self, case: Case) -> bool:
        """Return whether it holds for this case now."""
        found = seen(case, self.reads)
        last = next(iter(self.answered), None)
        if last is None or last[0] != found:
            last = found, self.program.execute(found) is True
            self.answered[:] = [last]
        return last[1]

    @property
    def is_never(self) -> bool:
        """Return whether it is false for every case: it reads nothing."""
        return not self.program.variables() and self.program.execute({}) is False


def condition(source: str) -> CelCondition:
    """Return a condition that can be run on every case, or reject it."""
    if len(source) > MOST_CHARACTERS:
        raise ConditionError("condition", f"a condition has at most {MOST_CHARACTERS} characters")
    typed = _Typed(list(_tokens(source)))
    typed.check()
    try:
        made = CelCondition(source, cel.compile(source), frozenset(typed.reads))
        answers = [made.program.execute(sample) for sample in SAMPLES]
    except Exception as error:
        raise ConditionError("condition", f"it cannot be run: {str(error)[:200]}") from error
    if not all(isinstance(answer, bool) for answer in answers):
        raise ConditionError("condition", "a condition must be true or false")
    return made


def seen(case: Case, paths: Iterable[str] = SCHEMA) -> dict[str, Any]:
    """Return what a condition reads from a case at these paths."""
    found: dict[str, Any] = {}
    for path in paths:
        root, _, name = path.partition(".")
        if name:
            found.setdefault(root, {})[name] = _READ[path](case)
        else:
            found[root] = _READ[path](case)
    return found


def _concerned(case: Case) -> tuple[Debt, ...]:
    """Return the overdue debts or, if there are none, those coming due."""
    return case.owed or tuple(debt for debt in case.debts if debt.active and debt.next_due > 0)


def _asked(case: Case, *states: ContactState) -> list[Contact]:
    """Return this spell's contacts about overdue debts, in these states or in any."""
    asked = (contact for contact in case.contacts if contact.spell == case.spell and contact.about is None)
    return [contact for contact in asked if not states or contact.state in states]


def _promises(case: Case, *states: PromiseState) -> int:
    """Return how many promises made in this spell are in these states, or in any."""
    return sum(promise.spell == case.spell and (not states or promise.state in states) for promise in case.promises)


def _sum(debt: Debt) -> int:
    return debt.overdue if debt.owed else debt.next_due


_BROKEN = (PromiseState.BROKEN, PromiseState.PARTLY_KEPT)
_READ: Mapping[str, Callable[[Case], Any]] = {
    "debts": lambda case: [{"total": _sum(debt)} for debt in _concerned(case)],
    "debt.total": lambda case: min(sum(_sum(debt) for debt in _concerned(case)), LARGEST),
    "debt.count": lambda case: len(_concerned(case)),
    "debt.currency": lambda case: case.currency,
    "debt.products": lambda case: sorted({debt.product for debt in _concerned(case)}),
    "debt.jurisdictions": lambda case: sorted({place for debt in _concerned(case) for place in debt.jurisdictions}),
    "case.spell": lambda case: case.spell,
    "case.nonpayment_reason": lambda case: case.nonpayment_reason or "",
    "contacts.asked": lambda case: len(_asked(case)),
    "contacts.said": lambda case: len(_asked(case, ContactState.DONE)),
    "contacts.failed": lambda case: len(_asked(case, ContactState.FAILED)),
    "contacts.steps": lambda case: sorted({contact.step for contact in _asked(case)}),
    "promise.open": lambda case: any(promise.open for promise in case.promises),
    "promise.broken": lambda case: _promises(case, *_BROKEN) > 0,
    "promise.count_made": _promises,
    "promise.count_kept": lambda case: _promises(case, PromiseState.KEPT),
    "promise.count_broken": lambda case: _promises(case, *_BROKEN),
}


def _sample(number: int, text: str, texts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"debts": [{"total": number}] * len(texts)}
    values = {INT: number, TEXT: text, TEXTS: texts, TRUTH: bool(texts)}
    for path, kind in SCHEMA.items():
        root, _, name = path.partition(".")
        if name:
            found.setdefault(root, {})[name] = values[kind]
    return found


SAMPLES = (_sample(0, "", []), _sample(1, "CNY", ["cash-loan"]), _sample(LARGEST, "USD", ["a", "b", "c"]))


def _hint(rest: str) -> str:
    """Return a hint on what to write instead, if there is one."""
    sign = rest.lstrip()[:1]
    if sign.isdecimal():
        return "; numbers are whole: amounts in minor units, no decimals"
    meant = {"=": "to compare write ==", "&": "and is &&", "|": "or is ||", "and": "and is &&", "or": "or is ||"}
    said = meant.get(rest) or meant.get(sign)
    return f"; {said}" if said else ""


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(source: str) -> Iterator[_Token]:
    at, end = 0, len(source.rstrip())
    while at < end:
        found = _TOKEN.match(source, at)
        if found is None or found.lastgroup is None:
            raise ConditionError("condition", f"not understood at character {at + 1}: {source[at : at + 20]!r}{_hint(source[at:])}")
        yield _Token(found.lastgroup, found[found.lastgroup])
        at = found.end()


_END = _Token("end", "the end")
_COMPARED = {"==": (INT, TEXT, TRUTH), "!=": (INT, TEXT, TRUTH), "<": (INT,), "<=": (INT,), ">": (INT,), ">=": (INT,)}


@dataclass(slots=True)
class _Typed:
    """A recursive-descent parser that checks types as it goes."""

    tokens: list[_Token]
    at: int = 0
    nodes: int = 0
    reads: set[str] = field(default_factory=set)

    def check(self) -> None:
        self._must(self._either(), TRUTH)
        if self._next() is not _END:
            raise ConditionError("condition", f"nothing can follow here: {self._next().text!r}{_hint(self._next().text)}")

    def _either(self) -> str:
        return self._joined("||", self._both)

    def _both(self) -> str:
        return self._joined("&&", self._relation)

    def _joined(self, sign: str, part: Any) -> str:
        kind: str = part()
        while self._took(sign):
            self._must(kind, TRUTH)
            self._must(part(), TRUTH)
            self._node()
        return kind

    def _relation(self) -> str:
        left = self._sum()
        token = self._next()
        if token.text in _COMPARED and token.kind == "sign":
            self.at += 1
            self._node()
            right = self._sum()
            if left != right or left not in _COMPARED[token.text]:
                raise ConditionError("condition", f"a {left} and a {right} cannot be compared by {token.text}")
            return TRUTH
        if token == _Token("name", "in"):
            self.at += 1
            self._node()
            self._must(left, TEXT)
            self._must(self._sum(), TEXTS)
            return TRUTH
        return left

    def _sum(self) -> str:
        kind = self._unary()
        while self._next().kind == "sign" and self._next().text in {"+", "-"}:
            self.at += 1
            self._node()
            self._must(kind, INT)
            self._must(self._unary(), INT)
        return kind

    def _unary(self) -> str:
        if self._took("!"):
            self._node()
            self._must(self._unary(), TRUTH)
            return TRUTH
        if self._took("-"):
            self._node()
            self._must(self._unary(), INT)
            return INT
        return self._primary()

    def _primary(self) -> str:
        self._node()
        token = self._next()
        self.at += 1
        match token.kind:
            case "number":
                if int(token.text) > LARGEST:
                    raise ConditionError("condition", f"a number is at most {LARGEST}")
                return INT
            case "text":
                return self._method(TEXT)
            case "name":
                return self._named(token.text)
        if token.text == "(":
            kind = self._either()
            self._expect(")")
            return kind
        if token.text == "[":
            return self._list()
        raise ConditionError("condition", f"a value is missing before {token.text!r}")

    def _list(self) -> str:
        while self._next().kind == "text":
            self.at += 1
            self._node()
            if not self._took(","):
                break
        self._expect("]")
        return TEXTS

    def _named(self, name: str) -> str:
        if name in {"true", "false"}:
            return TRUTH
        if name == "size" and self._took("("):
            kind = self._either()
            self._expect(")")
            if kind not in {TEXT, TEXTS, DEBTS}:
                raise ConditionError("condition", f"a {kind} has no size")
            return INT
        if name in _MACROS or name == "matches":
            raise ConditionError("condition", f"{name} is not allowed: it can take long, or fail")
        path = name
        if path not in SCHEMA and self._took("."):
            path = f"{name}.{self._next().text}"
            self.at += 1
        if name in COMING:
            raise ConditionError("not_supported_yet", f"{name} is not available to conditions yet")
        if path not in SCHEMA:
            raise ConditionError("unknown_path", f"there is no {path[:64]}; there are {', '.join(SCHEMA)}")
        self.reads.add(path)
        return self._method(SCHEMA[path])

    def _method(self, kind: str) -> str:
        if not self._took("."):
            return kind
        name = self._next().text
        self.at += 1
        self._node()
        if name not in _METHODS or kind != TEXT:
            raise ConditionError("condition", f"a {kind} has no {name[:64]} here")
        self._expect("(")
        self._must(self._either(), TEXT)
        self._expect(")")
        return TRUTH

    def _next(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else _END

    def _took(self, sign: str) -> bool:
        if self._next() == _Token("sign", sign):
            self.at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._took(sign):
            raise ConditionError("condition", f"{sign!r} is missing before {self._next().text!r}")

    def _must(self, kind: str, wanted: str) -> None:
        if kind != wanted:
            raise ConditionError("condition", f"a {wanted} is needed here, not a {kind}")

    def _node(self) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise ConditionError("condition", f"a condition has at most {MOST_NODES} parts")
