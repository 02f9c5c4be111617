from pathlib import Path

import pytest

from services.importer.uci import RowError, read
from services.importer.uci_accounts import COLUMNS

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "uci_500.csv"


def written(folder: Path, *changes: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    rows = [dict.fromkeys(columns, "0") | {"ID": str(n)} | change for n, change in enumerate(changes, start=1)]
    path = folder / "accounts.csv"
    path.write_text("\n".join([",".join(columns), *(",".join(row.values()) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_the_example_holds_every_sixtieth_account() -> None:
    assert [account.number for account in read(EXAMPLE)] == list(range(1, 30_000, 60))


def test_months_are_read_from_april_to_september() -> None:
    first = next(read(EXAMPLE))
    assert first.statuses == (-2, -2, -1, -1, 2, 2)
    assert first.balances == (0, 0, 0, 689, 3102, 3913)
    assert first.payments == (0, 0, 0, 0, 689, 0)


def test_a_number_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    assert next(read(written(tmp_path, {"X1": "5.00E+05"}))).limit == 500_000


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("X12", "many"),
        ("X12", ""),
        ("X12", "nan"),
        ("X12", "Infinity"),
        ("X12", "1.5"),
        ("X18", "-1"),
        ("X6", "10"),
        ("X6", "-3"),
        ("ID", "0"),
    ],
)
def test_a_broken_cell_is_named_with_its_line_and_column(tmp_path: Path, column: str, cell: str) -> None:
    with pytest.raises(RowError, match=rf"^line 3: {column} is ") as caught:
        list(read(written(tmp_path, {}, {column: cell})))
    assert caught.value.line == 3


def test_accounts_before_a_broken_line_are_still_read(tmp_path: Path) -> None:
    accounts = read(written(tmp_path, {}, {"X1": "?"}))
    assert next(accounts).number == 1
    with pytest.raises(RowError, match=r"^line 3"):
        next(accounts)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"^line 1: the columns X18, X19 are missing"):
        list(read(written(tmp_path, {}, columns=COLUMNS[:-2])))


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    with pytest.raises(RowError, match=r"^line 1"):
        list(read(path))


@pytest.mark.parametrize("tail", ["1,2\n", ",".join(["1"] * (len(COLUMNS) + 1)) + "\n"])
def test_a_row_of_another_length_is_refused(tmp_path: Path, tail: str) -> None:
    path = written(tmp_path, {})
    path.write_text(path.read_text(encoding="utf-8") + tail, encoding="utf-8")
    with pytest.raises(RowError, match=r"^line 3: it has more or fewer fields"):
        list(read(path))


def test_the_same_account_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"^line 4: ID 1 stands on line 2"):
        list(read(written(tmp_path, {}, {}, {"ID": "1"})))


def test_a_file_of_bytes_that_are_no_text_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_bytes(",".join(COLUMNS).encode() + b"\n\xb0\x00\n")
    with pytest.raises(RowError, match=r"this is no CSV file in UTF-8"):
        list(read(path))


def test_a_file_with_a_header_alone_is_no_book(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"no account below the header"):
        list(read(written(tmp_path)))
