-- Projections of the journal: `clear` empties them, the journal fills them again.

-- Up to which input of each engine everything below is told, and from which input on it is whole.
CREATE TABLE checkpoints (
    engine bigint PRIMARY KEY,
    seq bigint NOT NULL CHECK (seq >= 0),
    from_seq bigint NOT NULL CHECK (from_seq >= 0)
);

CREATE TABLE orders (
    account text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    client_order_id text COLLATE "C" NOT NULL,
    venue_id bigint,
    side text NOT NULL,
    order_type text,
    time_in_force text,
    reduce_only boolean NOT NULL,
    protective boolean NOT NULL,
    conditional boolean NOT NULL,
    price numeric,
    stop_price numeric,
    quantity numeric NOT NULL,
    filled numeric NOT NULL,
    cost numeric,
    state text NOT NULL,
    reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    engine bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (account, symbol, client_order_id)
);
CREATE INDEX orders_by_time ON orders (created_at, account, symbol, client_order_id);

CREATE TABLE fills (
    account text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    trade_id bigint NOT NULL,
    client_order_id text COLLATE "C" NOT NULL,
    venue_id bigint NOT NULL,
    side text NOT NULL,
    price numeric NOT NULL,
    quantity numeric NOT NULL,
    maker boolean NOT NULL,
    fee numeric,
    fee_asset text,
    realized numeric NOT NULL,
    asset text NOT NULL,
    at timestamptz NOT NULL,
    engine bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (account, symbol, trade_id)
);
CREATE INDEX fills_by_time ON fills (at, account, symbol, trade_id);

CREATE TABLE positions (
    account text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    realized numeric,
    asset text NOT NULL,
    account_quantity numeric NOT NULL,
    updated_at timestamptz NOT NULL,
    engine bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (account, strategy, symbol)
);

CREATE TABLE equity (
    account text COLLATE "C" NOT NULL,
    asset text NOT NULL,
    wallet numeric NOT NULL,
    unrealized numeric NOT NULL,
    day_profit numeric NOT NULL,
    exposure numeric NOT NULL,
    at timestamptz NOT NULL,
    engine bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (engine, seq, account)
);
CREATE INDEX equity_by_time ON equity (at, engine, seq, account);

CREATE TABLE decisions (
    kind text NOT NULL,
    account text COLLATE "C",
    strategy text COLLATE "C",
    symbol text COLLATE "C",
    client_order_id text COLLATE "C",
    reason text NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL,
    engine bigint NOT NULL,
    seq bigint NOT NULL,
    ix bigint NOT NULL,
    PRIMARY KEY (engine, seq, ix)
);
CREATE INDEX decisions_by_time ON decisions (at, engine, seq, ix);

-- What no journal holds: `clear` leaves it.

CREATE TABLE audit (
    id text COLLATE "C" PRIMARY KEY,
    actor text NOT NULL,
    role text NOT NULL,
    source text NOT NULL,
    command text NOT NULL,
    arguments text NOT NULL,
    idempotency_key text,
    outcome text NOT NULL,
    at timestamptz NOT NULL,
    engine bigint,
    seq bigint NOT NULL
);
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE users (
    name text COLLATE "C" PRIMARY KEY,
    hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'trader', 'admin')),
    disabled boolean NOT NULL,
    token_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);
-- Names that differ in case only would be mistaken for each other.
CREATE UNIQUE INDEX users_by_name ON users (lower(name));
