"""Makes `companies.csv`: `python -m models.entities.build_table COMPANY_TICKERS_FOLDER`.

The folder holds the SEC's list of companies (`company_tickers.json`, and
`company_tickers_exchange.json` for the exchange of each symbol), the S&P 500
(`sp500_constituents.csv`: name and sector) and StockNet's table of stocks
(`stocknet_stocktable.tsv`: names of 2014). What no list says is kept by hand in `knowledge.toml`,
which the recogniser reads as it stands; from there come the words that are no company's name.
"""

import csv
import json
import re
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

TARGET = Path(__file__).with_name("companies.csv")
KNOWLEDGE = Path(__file__).with_name("knowledge.toml")

_FUND = re.compile(
    r"\b(?:ETF|ETN|SPDR|iShares|ProShares|Direxion|Invesco DB|CurrencyShares|Grayscale|Bitwise|QQQ"
    r"|Funds?|Municipal|Sprott Physical|(?:Gold|Silver|Platinum|Bitcoin|Ethereum) Trust)\b",
    re.I,
)
_STATE = re.compile(r"\s*[/\\(][A-Za-z. ]{0,6}[/\\)]?\s*$|\s*\((?:The|Class \w)\)|\s*/ADR\b")
_LEGAL = re.compile(
    r"[\s,]+(?:incorporated|inc|corporation|corp|company|companies|co|limited|ltd|plc|llc|l\.?l\.?c"
    r"|l\.?p|n\.?\s?v|s\.?\s?a|s\.?p\.?a|se|ag|a/s|ab|asa|oyj|p\.?l\.?c|sa/nv|the|new"
    r"|s\.?a\.?b\.? de c\.?v)\.?,?$",
    re.I,
)
_KIND = re.compile(
    r"\s+(?:holdings?|group|technolog(?:y|ies)|(?:bio)?pharma(?:ceuticals?)?|(?:bio)?therapeutics"
    r"|biosciences|industries|international|laboratories|communications|enterprises|systems"
    r"|software|networks|solutions)$",
    re.I,
)
_SERIES = re.compile(r"[.-](?:P\w*|UN|WT|WS|RI|WD|U|W|R)$")
"""Preferred shares, units, warrants and rights: nobody writes of them by their symbol."""
_SMALL_WORDS = {"and", "of", "the", "for", "in", "on", "de", "du", "la"}
_EXCHANGES = {"NYSE", "Nasdaq"}


@dataclass
class Company:
    """One row of the table, gathered from the lists by the SEC's number of the company."""

    symbols: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    sector: str = ""
    listed: bool = False

    @property
    def names(self) -> list[str]:
        """Spellings without the legal form, the best known first.

        None for unlisted companies, and no short single words of little known ones.
        """
        if not self.listed:
            return []
        found = dict.fromkeys(name for title in self.titles for name in spellings(title))
        return [name for name in found if self.sector or len(name) > 4]


def spellings(title: str) -> list[str]:
    """`EXXON MOBIL CORP` -> `Exxon Mobil`; a single rare word may also stand for the whole."""
    name = _STATE.sub("", _STATE.sub("", title)).strip(" ,")
    while (shorter := _LEGAL.sub("", name).rstrip(" ,&")) != name:
        name = shorter
    if name.isupper() and (len(name) > 4 or " " in name):
        words = (w if w.lower() in _SMALL_WORDS else w.capitalize() for w in name.lower().split())
        name = " ".join(words)
        name = re.sub(r"(?<=[&.\-])[a-z]", lambda letter: letter.group().upper(), name)
    name = re.sub(r"^The ", "", name)
    stem = name
    while (shorter := _KIND.sub("", stem)) != stem:
        stem = shorter
    one_word = len(stem) > 3 and re.fullmatch(r"\w+", stem)
    return [name, stem] if one_word and stem != name else [name]


def read(folder: Path) -> list[Company]:
    """All companies of the lists, the most valuable first; funds are left out."""
    companies: dict[int, Company] = defaultdict(Company)
    exchanges = json.loads((folder / "company_tickers_exchange.json").read_text("utf-8"))
    exchange_of = {symbol: exchange for _, _, symbol, exchange in exchanges["data"]}
    for row in json.loads((folder / "company_tickers.json").read_text("utf-8")).values():
        if not _FUND.search(row["title"]) and not _SERIES.search(row["ticker"]):
            company = companies[row["cik_str"]]
            company.symbols.append(row["ticker"].replace("-", "."))
            company.titles = [row["title"]]
            company.listed |= exchange_of.get(row["ticker"]) in _EXCHANGES
    _add_sp500(companies, folder / "sp500_constituents.csv")
    _add_stocknet(companies, folder / "stocknet_stocktable.tsv")
    return list(companies.values())


def _add_sp500(companies: dict[int, Company], path: Path) -> None:
    cik_of = {symbol: cik for cik, company in companies.items() for symbol in company.symbols}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    members = {row["Symbol"] for row in rows}
    for row in rows:
        cik, symbol = int(row["CIK"]), row["Symbol"]
        company = companies[cik if cik in companies else cik_of.get(symbol, cik)]
        if not members.intersection(company.symbols[:1]):
            company.symbols = [symbol, *(s for s in company.symbols if s != symbol)]
        if not company.sector:
            company.titles.insert(0, row["Security"])
        company.sector, company.listed = row["GICS Sector"], True


def _add_stocknet(companies: dict[int, Company], path: Path) -> None:
    by_symbol = {symbol: company for company in companies.values() for symbol in company.symbols}
    with path.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows, delimiter="\t"):
            company = by_symbol.get(row["Symbol"].strip("$ ").replace("-", "."))
            if company is not None:
                company.titles.append(re.sub(r"\s+", " ", row["Company"]).strip())


def write(companies: list[Company], not_names: set[str], target: Path) -> None:
    """One line a company: entity (its foremost symbol), name, sector, symbols, names.

    A symbol or a name that two companies bear goes to the first of them.
    """
    taken = set(not_names)
    with target.open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["entity", "name", "sector", "symbols", "names"])
        for company in companies:
            symbols = [symbol for symbol in company.symbols if f"${symbol}" not in taken]
            names = {name.lower(): name for name in reversed(company.names)}
            names = {key: name for key, name in names.items() if key not in taken}
            taken.update(names, (f"${symbol}" for symbol in symbols))
            if symbols:
                display = spellings(company.titles[0])[0]
                row = [symbols[0], display, company.sector, " ".join(symbols)]
                table.writerow([*row, "|".join(reversed(names.values()))])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m models.entities.build_table COMPANY_TICKERS_FOLDER")
    knowledge = tomllib.loads(KNOWLEDGE.read_text("utf-8"))
    not_names = {*knowledge["not_names"].split(), *knowledge["not_phrases"]}
    write(read(Path(sys.argv[1])), not_names, TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")
