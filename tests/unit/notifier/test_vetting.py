"""What a template may contain, and what an attacker would like it to."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier import markup
from services.notifier.domain.message import Lender, Saying, TextRef, draft
from services.notifier.rendering import RenderError, Source, compiled, problems
from services.notifier.vetting import LONGEST_SOURCE, RefusedError, vet
from tests.unit.notifier.values import a_fact


@pytest.mark.parametrize(
    "source",
    [
        "plain",
        "{{ name }} {{ lender }} {{ contact }} {{ total }}",
        "{% if name %}Dear {{ name }}{% elif contact %}{{ contact }}{% else %}Hello{% endif %}",
        "{% for debt in debts %}{{ debt.amount }} {{ debt.due_on }} {{ debt.product }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for one in debts %}{{ loop.index }} {{ one.loan_id }}{% else %}none{% endfor %}",
        "{{ debts[0].amount }}",
        "{% if debts | length > 3 and debts | length <= 10 %}{{ debts | length }}{% endif %}",
        "{{ name | upper }} {{ 'a' if itemise else 'b' }}",
        "{% if split is not none %}{{ split.principal }}{% endif %}",
        "{{ variables.months }} {% if variables.months is defined %}x{% endif %}",
        "{% raw %}{{ no }}{% endraw %}{# a remark #}",
        "{% if opt_out or itemise %}{% endif %}x",
    ],
)
def test_what_is_documented_may_stand_in_a_template(source: str) -> None:
    vet(source)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ ''.__class__ }}", "documented placeholders"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "call is not allowed"),
        ("{{ name.__class__ }}", "documented placeholders"),
        ("{{ debts[0].__class__ }}", "no field '__class__'"),
        ("{{ debts[0]['amount'] }}", "may be looked up"),
        ("{{ debts.0 }}", "documented placeholders|may be looked up"),
        ("{{ debts[name] }}", "may be looked up"),
        ("{{ debts }}", "is not text"),
        ("{{ variables }}", "is not text"),
        ("{{ split }}", "is not text"),
        ("{{ split.total }}", "no field 'total'"),
        ("{{ variables.items }}", "no field 'items'"),
        ("{{ variables._x }}", "no field '_x'"),
        ("{{ variables.a.b }}", "documented placeholders"),
        ("{{ lender.upper() }}", "call is not allowed"),
        ("{{ 'x' * 1000000000 }}", "mul is not allowed"),
        ("{{ 10 ** 1000000 }}", "pow is not allowed"),
        ("{{ 'a' ~ 'b' }}", "concat is not allowed"),
        ("{{ 'a' % 1 }}", "mod is not allowed"),
        ("{{ '%s' | format(name) }}", "no filter 'format'"),
        ("{{ name | attr('__class__') }}", "no filter 'attr'"),
        ("{{ name | center(1000000000) }}", "no filter 'center'"),
        ("{{ name | safe }}", "no filter 'safe'"),
        ("{{ name | map('upper') }}", "no filter 'map'"),
        ("{{ debts | length('x') }}", "takes no arguments"),
        ("{% for a in debts %}{% for b in debts %}x{% endfor %}{% endfor %}", "cannot be nested"),
        ("{% for a in range(1000000000) %}x{% endfor %}", "can only go over debts"),
        ("{% for a in [1, 2] %}x{% endfor %}", "can only go over debts"),
        ("{% for a in debts recursive %}{{ loop(debts) }}{% endfor %}", "can only go over debts"),
        ("{% for a, b in debts %}x{% endfor %}", "must have a new name"),
        ("{% for name in debts %}x{% endfor %}", "must have a new name"),
        ("{{ loop.index }}", "documented placeholders"),
        ("{% for a in debts %}{{ loop.cycle('a') }}{% endfor %}", "call is not allowed"),
        ("{% for a in debts %}{{ loop.previtem }}{% endfor %}", "no field 'previtem'"),
        ("{% set x = 1 %}", "assign is not allowed"),
        ("{% macro m() %}{{ m() }}{% endmacro %}", "macro is not allowed"),
        ("{% include 'x' %}", "include is not allowed"),
        ("{% import 'x' as y %}", "import is not allowed"),
        ("{% extends 'x' %}", "extends is not allowed"),
        ("{% block b %}{% endblock %}", "block is not allowed"),
        ("{% filter upper %}x{% endfilter %}", "filterblock is not allowed"),
        ("{% with a = 1 %}{{ a }}{% endwith %}", "with is not allowed"),
        ("{% call x() %}{% endcall %}", "callblock is not allowed"),
        ("{% autoescape false %}{{ name }}{% endautoescape %}", "Encountered unknown tag|not allowed"),
        ("{% do x %}", "unknown tag"),
        ("{{ self }}", "no placeholder 'self'"),
        ("{{ config }}", "no placeholder 'config'"),
        ("{{ cycler }}", "no placeholder 'cycler'"),
        ("{{ address }}", "no placeholder 'address'"),
        ("{{ {'a': 1} }}", "dict is not allowed"),
        ("{{ [name] }}", "list is not allowed"),
        ("{{ name[1:2] }}", "may be looked up"),
        ("{{ -1 }}", "neg is not allowed"),
        ("{{ 'a' in name }}", "comparison 'in' is not allowed"),
        ("{{ name is sameas name }}", "no test 'sameas'"),
        ("{{ name", "end of"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ " + "9" * 6000 + " }}", "number too long"),
        ("x" * (LONGEST_SOURCE + 1), "characters"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_everything_else_is_refused_before_it_is_compiled(source: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        vet(source)
    with pytest.raises(RefusedError):
        compiled(Source(source), TextRef("x", "en", "sms", 1))


def test_a_problem_names_its_part_and_line() -> None:
    [problem] = problems(Source("one\ntwo\n{{ nobody }}"), "sms")
    assert (problem.part, problem.line, problem.detail) == ("body", 3, "there is no placeholder 'nobody'")


WORDS = st.sampled_from([
    "{{", "}}", "{%", "%}", "debts", "debt", "name", "total", "for", "in", "endfor", "if", "endif", "|", "length", ".", "[0]", "_",
    "__class__", "split", "variables", "loop", "(", ")", "'x'", "*", "9", "range", "macro", "set", "=", "~", "is", "not", "none", ",",
])  # fmt: skip


@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text(string.printable, max_size=60))
def test_what_is_let_through_renders_within_its_bounds_or_says_that_it_cannot(source: str) -> None:
    try:
        text = compiled(Source(source), TextRef("x", "en", "sms", 1))
    except RefusedError:
        return
    said = draft([a_fact("a"), a_fact("b")], Saying(Lender("Acme"), "en"))
    try:
        body = text.render(said, name="Li").body
    except RenderError:
        return
    assert 0 < len(body) <= 1530
    assert not any(inner in body for inner in ("<class", "<bound", " object at 0x", "DebtLine("))


@pytest.mark.parametrize(
    ("html", "why"),
    [
        ("<script>alert(1)</script>", "<script> is not allowed"),
        ("<p onclick='x()'>a</p>", "'onclick' is not allowed"),
        ("<a href='javascript:x()'>a</a>", "must begin with"),
        ("<a href='HTTP://x.example'>a</a>", "must begin with"),
        ("<a href='https://x.example/{{ name }}'>a</a>", "inside a tag"),
        ("<p {{ name }}>a</p>", "inside a tag"),
        ('<a href="{{ name }}">a</a>', "inside a tag"),
        ('<a href="{{ link }}{{ name }}">a</a>', "inside a tag"),
        ('<img src="{{ link }}">', "inside a tag"),
        ('<p href="{{ link }}">a</p>', "must begin with"),
        ("<img src='data:image/png;base64,x'>", "must begin with"),
        ("<form action='https://x.example'></form>", "<form> is not allowed"),
        ("<iframe src='https://x.example'></iframe>", "<iframe> is not allowed"),
        ("<p style='display:none'>a</p>", "neither load nor hide"),
        ("<p style='background:url(https://x.example)'>a</p>", "neither load nor hide"),
        ("<!-- hidden --><p>a</p>", "comment"),
        ("<svg><circle/></svg>", "<svg> is not allowed"),
        ("<style>p{}</style>", "<style> is not allowed"),
    ],
)
def test_html_that_runs_loads_or_hides_something_is_refused(html: str, why: str) -> None:
    found = markup.refused(html)
    assert found is not None
    assert why in found[0]
    assert [problem.part for problem in problems(Source("a", "s", html), "email")][:1] == ["html"]


def test_plain_html_with_placeholders_in_its_text_is_allowed_and_can_be_read() -> None:
    html = "<body><p>Dear <b>{{ name }}</b>,</p><a href='https://acme.example/pay'>Pay</a>{% if debts | length < 3 %}x{% endif %}</body>"
    assert problems(Source("a", "s", html), "email") == []
    assert problems(Source("a", "s", '<p>{% if link %}<a href="{{ link }}" title="x">{{ link }}</a>{% endif %}</p>'), "email") == []
    assert " ".join(markup.visible("<p>Dear <b>Li&amp;Co</b>,</p>").split()) == "Dear Li&Co ,"


@pytest.mark.parametrize(("source", "channel"), [(Source("a"), "email"), (Source("a", "s"), "sms"), (Source("a", "s", "<p>a</p>"), "push")])
def test_a_channel_has_the_parts_it_has(source: Source, channel: str) -> None:
    assert problems(source, channel) != []
