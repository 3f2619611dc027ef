-- Decimals are exact texts, times are microseconds since the Unix epoch, truth values are 0 and 1.

-- Projections of the journal: `clear` empties them, the journal fills them again.

-- Up to which input of each engine everything below is told, and from which input on it is whole.
CREATE TABLE checkpoints (
    engine INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    from_seq INTEGER NOT NULL CHECK (from_seq >= 0)
) STRICT;

CREATE TABLE orders (
    account TEXT NOT NULL,
    strategy TEXT NOT NULL,
    symbol TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    venue_id INTEGER,
    side TEXT NOT NULL,
    order_type TEXT,
    time_in_force TEXT,
    reduce_only INTEGER NOT NULL,
    protective INTEGER NOT NULL,
    conditional INTEGER NOT NULL,
    price TEXT,
    stop_price TEXT,
    quantity TEXT NOT NULL,
    filled TEXT NOT NULL,
    cost TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    engine INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, client_order_id)
) STRICT;
CREATE INDEX orders_by_time ON orders (created_at, account, symbol, client_order_id);

CREATE TABLE fills (
    account TEXT NOT NULL,
    strategy TEXT NOT NULL,
    symbol TEXT NOT NULL,
    trade_id INTEGER NOT NULL,
    client_order_id TEXT NOT NULL,
    venue_id INTEGER NOT NULL,
    side TEXT NOT NULL,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    maker INTEGER NOT NULL,
    fee TEXT,
    fee_asset TEXT,
    realized TEXT NOT NULL,
    asset TEXT NOT NULL,
    at INTEGER NOT NULL,
    engine INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, trade_id)
) STRICT;
CREATE INDEX fills_by_time ON fills (at, account, symbol, trade_id);

CREATE TABLE positions (
    account TEXT NOT NULL,
    strategy TEXT NOT NULL,
    symbol TEXT NOT NULL,
    quantity TEXT NOT NULL,
    cost TEXT NOT NULL,
    realized TEXT,
    asset TEXT NOT NULL,
    account_quantity TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    engine INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, strategy, symbol)
) STRICT;

CREATE TABLE equity (
    account TEXT NOT NULL,
    asset TEXT NOT NULL,
    wallet TEXT NOT NULL,
    unrealized TEXT NOT NULL,
    day_profit TEXT NOT NULL,
    exposure TEXT NOT NULL,
    at INTEGER NOT NULL,
    engine INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (engine, seq, account)
) STRICT;
CREATE INDEX equity_by_time ON equity (at, engine, seq, account);

CREATE TABLE decisions (
    kind TEXT NOT NULL,
    account TEXT,
    strategy TEXT,
    symbol TEXT,
    client_order_id TEXT,
    reason TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    engine INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ix INTEGER NOT NULL,
    PRIMARY KEY (engine, seq, ix)
) STRICT;
CREATE INDEX decisions_by_time ON decisions (at, engine, seq, ix);

-- What no journal holds: `clear` leaves it.

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    source TEXT NOT NULL,
    command TEXT NOT NULL,
    arguments TEXT NOT NULL,
    idempotency_key TEXT,
    outcome TEXT NOT NULL,
    at INTEGER NOT NULL,
    engine INTEGER,
    seq INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'trader', 'admin')),
    disabled INTEGER NOT NULL,
    token_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
-- Names that differ in case only would be mistaken for each other.
CREATE UNIQUE INDEX users_by_name ON users (lower(name));
