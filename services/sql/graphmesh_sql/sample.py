"""The sample warehouse of a pen shop, which `sql` queries if no target is configured.

It is generated, the same each time: half a year of orders, in a star schema of one fact table and two dimensions, with
a view of monthly revenue. Amounts are in cents.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Final

SEED: Final = 20260101
FIRST_DAY: Final = date(2026, 1, 1)
DAYS: Final = 181
CUSTOMERS: Final = 60

SCHEMA: Final = """
    CREATE TABLE dim_customer (
        customer_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        country TEXT NOT NULL,
        segment TEXT NOT NULL CHECK (segment IN ('consumer', 'business', 'school')),
        signup_date DATE NOT NULL
    );
    CREATE TABLE dim_product (
        product_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        category TEXT NOT NULL,
        list_price_cents INTEGER NOT NULL
    );
    CREATE TABLE fact_order_line (
        order_id INTEGER NOT NULL,
        line_number INTEGER NOT NULL,
        order_date DATE NOT NULL,
        customer_id INTEGER NOT NULL REFERENCES dim_customer (customer_id),
        product_id INTEGER NOT NULL REFERENCES dim_product (product_id),
        quantity INTEGER NOT NULL,
        discount_percent INTEGER NOT NULL,
        amount_cents INTEGER NOT NULL,
        returned BOOLEAN NOT NULL,
        PRIMARY KEY (order_id, line_number)
    );
    CREATE INDEX fact_order_line_by_date ON fact_order_line (order_date);
    CREATE VIEW monthly_revenue AS
        SELECT strftime('%Y-%m', f.order_date) AS month, p.category, sum(f.quantity) AS items,
               sum(f.amount_cents) AS revenue_cents
        FROM fact_order_line f JOIN dim_product p USING (product_id)
        WHERE NOT f.returned
        GROUP BY month, p.category;
"""
PRODUCTS: Final = (
    ("Heron fountain pen, fine", "pens", 8900),
    ("Heron fountain pen, broad", "pens", 8900),
    ("Wren pocket pen", "pens", 4900),
    ("Kestrel rollerball", "pens", 3900),
    ("School fountain pen", "pens", 1900),
    ("Midnight ink, 50 ml", "ink", 1450),
    ("Moss ink, 50 ml", "ink", 1450),
    ("Ember ink, 50 ml", "ink", 1650),
    ("Ink cartridges, box of 12", "ink", 690),
    ("Dotted notebook A5", "paper", 1890),
    ("Letter pad, 50 sheets", "paper", 1290),
    ("Sketchbook A4", "paper", 2490),
    ("Piston converter", "accessories", 890),
    ("Pen roll, leather", "accessories", 5900),
    ("Nib cleaning kit", "accessories", 1990),
)
FIRST_NAMES: Final = (
    "Ada",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kaia",
    "Lucia",
)
LAST_NAMES: Final = ("Aalto", "Berg", "Costa", "Dubois", "Eriksen", "Ferrari", "Gruber", "Horvat", "Ivanova", "Jansen")
COUNTRIES: Final = ("DE", "DE", "DE", "FR", "FR", "IT", "AT", "NL", "US", "CA")
SEGMENTS: Final = ("consumer", "consumer", "consumer", "business", "school")


def make_sample(path: Path) -> None:
    """Write the warehouse to `path` atomically, unless the file exists."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{random.SystemRandom().getrandbits(64):x}")
    try:
        with closing(sqlite3.connect(unfinished)) as connection, connection:
            connection.executescript(SCHEMA)
            _fill(connection, random.Random(SEED))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, chance: random.Random) -> None:
    products = [(number, *product) for number, product in enumerate(PRODUCTS, 1)]
    connection.executemany("INSERT INTO dim_customer VALUES (?, ?, ?, ?, ?)", _customers(chance))
    connection.executemany("INSERT INTO dim_product VALUES (?, ?, ?, ?)", products)
    connection.executemany("INSERT INTO fact_order_line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _order_lines(chance))


def _customers(chance: random.Random) -> Iterator[tuple[object, ...]]:
    for number in range(1, CUSTOMERS + 1):
        signup = FIRST_DAY - timedelta(days=chance.randrange(900))
        name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
        yield number, name, chance.choice(COUNTRIES), chance.choice(SEGMENTS), signup.isoformat()


def _order_lines(chance: random.Random) -> Iterator[tuple[object, ...]]:
    """Yield some orders a day, increasingly more towards summer."""
    order = 10_000
    for day in range(DAYS):
        for _ in range(chance.randint(1, 3 + day // 60)):
            order += 1
            head = (FIRST_DAY + timedelta(days=day)).isoformat(), chance.randint(1, CUSTOMERS)
            for line, product in enumerate(chance.sample(range(1, len(PRODUCTS) + 1), chance.randint(1, 4)), 1):
                quantity, discount = chance.choice((1, 1, 1, 2, 3, 10)), chance.choice((0, 0, 0, 0, 5, 10, 20))
                amount = PRODUCTS[product - 1][2] * quantity * (100 - discount) // 100
                yield order, line, *head, product, quantity, discount, amount, chance.random() < 0.04
