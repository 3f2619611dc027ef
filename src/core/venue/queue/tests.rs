use super::*;
use proptest::prelude::*;

/// The same model without indices or caches: each price is one queue of what stands there.
#[derive(Default)]
struct Twin {
    levels: BTreeMap<i64, (i64, Vec<Entry>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Entry {
    External(i64),
    Own { id: VenueOrderId, account: AccountIx, rest: i64 },
}

impl Entry {
    fn external(&self) -> i64 {
        if let Entry::External(quantity) = self { *quantity } else { 0 }
    }
}

impl Twin {
    fn level(&mut self, key: i64) -> &mut (i64, Vec<Entry>) {
        self.levels.entry(key).or_default()
    }

    /// Growth stands at the end; what vanishes vanishes from the end.
    fn set(&mut self, key: i64, shown: i64) {
        let (last, queue) = self.level(key);
        if *last == shown {
            return;
        }
        *last = shown;
        let mut total: i64 = queue.iter().map(Entry::external).sum();
        if shown > total {
            queue.push(Entry::External(shown - total));
        }
        for entry in queue.iter_mut().rev() {
            if let Entry::External(quantity) = entry {
                let gone = (*quantity).min((total - shown).max(0));
                *quantity -= gone;
                total -= gone;
            }
        }
    }

    fn join(&mut self, key: i64, id: VenueOrderId, account: AccountIx, rest: i64) {
        self.level(key).1.push(Entry::Own { id, account, rest });
    }

    fn leave(&mut self, key: i64, gone: VenueOrderId) {
        self.level(key).1.retain(|e| !matches!(e, Entry::Own { id, .. } if *id == gone));
    }

    fn take(&mut self, limit: i64, taker: AccountIx, mut quantity: i64) -> Vec<Match> {
        let mut matches = Vec::new();
        for (&key, (_, queue)) in self.levels.range_mut(limit..).rev() {
            for entry in queue.iter_mut() {
                match entry {
                    _ if quantity == 0 => break,
                    Entry::External(there) => {
                        let taken = (*there).min(quantity);
                        (*there, quantity) = (*there - taken, quantity - taken);
                        if taken > 0 {
                            matches.push(Match::External { key, quantity: taken });
                        }
                    }
                    Entry::Own { id, account, rest } if *account == taker => {
                        *rest = 0;
                        matches.push(Match::SelfTrade { id: *id });
                    }
                    Entry::Own { id, rest, .. } => {
                        let taken = (*rest).min(quantity);
                        (*rest, quantity) = (*rest - taken, quantity - taken);
                        matches.push(Match::Own { id: *id, key, quantity: taken });
                    }
                }
            }
            queue.retain(|e| !matches!(e, Entry::Own { rest: 0, .. }));
        }
        matches
    }

    /// A recorded trade: orders at better prices first, whatever stood ahead of them; then the queue. What it passes of the
    /// recorded liquidity only moves behind, because the feed will say itself what is left of the level.
    fn trade(&mut self, hit: i64, mut quantity: i64) -> Vec<Match> {
        let mut matches = Vec::new();
        for (&key, (_, queue)) in self.levels.range_mut(hit..).rev() {
            let mut left = Vec::new();
            let mut passed = 0;
            let mut done = quantity == 0;
            for entry in queue.drain(..) {
                match entry {
                    Entry::External(there) if !done => {
                        let used = if key > hit { there } else { there.min(quantity) };
                        quantity -= if key > hit { 0 } else { used };
                        passed += used;
                        left.push(Entry::External(there - used));
                        done = quantity == 0;
                    }
                    Entry::Own { id, account, rest } if !done => {
                        let used = rest.min(quantity);
                        quantity -= used;
                        done = quantity == 0;
                        matches.push(Match::Own { id, key, quantity: used });
                        if rest > used {
                            left.push(Entry::Own { id, account, rest: rest - used });
                        }
                        if key > hit && done {
                            // Behind the last order that was filled, still ahead of the next.
                            left.push(Entry::External(passed));
                            passed = 0;
                        }
                    }
                    other => left.push(other),
                }
            }
            left.push(Entry::External(passed));
            *queue = left;
        }
        matches
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(i64, i64),
    Join(i64, u16, i64),
    Leave(usize),
    Take(i64, u16, i64),
    Trade(i64, i64),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 1i64..8;
    prop_oneof![
        3 => (key.clone(), 0i64..12).prop_map(|(k, q)| Op::Set(k, q)),
        3 => (key.clone(), 0u16..3, 1i64..9).prop_map(|(k, a, q)| Op::Join(k, a, q)),
        1 => any::<prop::sample::Index>().prop_map(|i| Op::Leave(i.index(64))),
        2 => (key.clone(), 0u16..4, 1i64..20).prop_map(|(k, a, q)| Op::Take(k, a, q)),
        2 => (key, 1i64..20).prop_map(|(k, q)| Op::Trade(k, q)),
    ]
}

/// Pieces of recorded liquidity at one price that follow each other are one: their number has no meaning.
fn merged(matches: Vec<Match>) -> Vec<Match> {
    let mut all: Vec<Match> = Vec::new();
    for next in matches {
        match (all.last_mut(), next) {
            (Some(Match::External { key: k, quantity: sum }), Match::External { key, quantity }) if *k == key => {
                *sum += quantity;
            }
            _ => all.push(next),
        }
    }
    all
}

fn taken(book: &mut SideBook, limit: i64, taker: AccountIx, mut quantity: i64) -> Vec<Match> {
    let mut matches = Vec::new();
    while let Some(next) = book.take(limit, taker, quantity) {
        if let Match::External { quantity: q, .. } | Match::Own { quantity: q, .. } = next {
            quantity -= q;
        }
        matches.push(next);
    }
    matches
}

fn traded(book: &mut SideBook, key: i64, mut quantity: i64) -> Vec<Match> {
    std::iter::from_fn(|| book.trade(key, &mut quantity)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn priority_is_that_of_the_naive_twin(ops in prop::collection::vec(op(), 1..60)) {
        let (mut book, mut twin) = (SideBook::new(Side::Buy), Twin::default());
        // An anchor far away: every price of the test lies inside the known part of the book.
        book.reset([(-5, 1)].into_iter());
        let mut orders: Vec<(i64, VenueOrderId)> = Vec::new();
        for op in ops {
            match op {
                Op::Set(key, shown) => {
                    book.set(key, shown);
                    book.refresh();
                    twin.set(key, shown);
                }
                Op::Join(key, account, rest) => {
                    let id = VenueOrderId(orders.len() as i64);
                    orders.push((key, id));
                    book.join(key, id, AccountIx(account), rest);
                    twin.join(key, id, AccountIx(account), rest);
                }
                Op::Leave(at) => if let Some(&(key, id)) = orders.get(at) {
                    book.leave(key, id);
                    twin.leave(key, id);
                }
                Op::Take(limit, account, quantity) => {
                    let there: i64 = twin.levels.range(limit..).flat_map(|(_, (_, queue))| queue).map(|e| match e {
                        Entry::External(q) => *q,
                        Entry::Own { account: a, rest, .. } => if *a == AccountIx(account) { 0 } else { *rest },
                    }).sum();
                    prop_assert_eq!(book.reachable(limit, AccountIx(account), i64::MAX), there);
                    let got = merged(taken(&mut book, limit, AccountIx(account), quantity));
                    prop_assert_eq!(got, merged(twin.take(limit, AccountIx(account), quantity)));
                }
                Op::Trade(key, quantity) => {
                    prop_assert_eq!(traded(&mut book, key, quantity), twin.trade(key, quantity));
                }
            }
            prop_assert_eq!(book.best_resting, book.resting.keys().last().copied().unwrap_or(NONE));
        }
    }
}

const ME: AccountIx = AccountIx(0);

#[test]
fn behind_the_known_book_the_queue_is_endless_until_it_is_shown() {
    let mut book = SideBook::new(Side::Buy);
    book.set_only(100, 5);
    book.join(98, VenueOrderId(1), ME, 3);
    assert_eq!(traded(&mut book, 98, 1_000), vec![]);
    // A trade below its price would have met it first.
    assert_eq!(traded(&mut book, 97, 1), vec![Match::Own { id: VenueOrderId(1), key: 98, quantity: 1 }]);
    book.leave(98, VenueOrderId(1));
    book.join(98, VenueOrderId(2), ME, 3);
    book.set_only(98, 4);
    assert_eq!(traded(&mut book, 98, 5), vec![Match::Own { id: VenueOrderId(2), key: 98, quantity: 1 }]);
}

#[test]
fn a_level_that_shrinks_moves_the_queue_only_when_it_must() {
    let mut book = SideBook::new(Side::Sell);
    let key = key_of(Side::Sell, Price::from_mantissa(100));
    book.set_only(key, 10);
    book.join(key, VenueOrderId(1), ME, 2);
    // Grows, shrinks back: those behind left.
    book.set_only(key, 15);
    book.set_only(key, 10);
    assert_eq!(traded(&mut book, key, 10), vec![]);
    book.set_only(key, 8);
    book.join(key, VenueOrderId(2), ME, 2);
    book.set_only(key, 3);
    assert_eq!(traded(&mut book, key, 4), vec![Match::Own { id: VenueOrderId(1), key, quantity: 2 },]);
    assert_eq!(traded(&mut book, key, 2), vec![Match::Own { id: VenueOrderId(2), key, quantity: 1 }]);
}

#[test]
fn liquidity_is_taken_once_until_the_feed_shows_another_quantity() {
    let mut book = SideBook::new(Side::Sell);
    let key = -100;
    book.set_only(key, 10);
    assert_eq!(taken(&mut book, key, ME, 25), vec![Match::External { key, quantity: 10 }]);
    book.set_only(key, 10);
    assert_eq!(taken(&mut book, key, ME, 25), vec![]);
    book.reset([(key, 10), (-101, 4)].into_iter());
    assert_eq!(taken(&mut book, -101, ME, 25), vec![Match::External { key: -101, quantity: 4 }]);
    book.set_best(key, 9);
    assert_eq!(taken(&mut book, key, ME, 25), vec![Match::External { key, quantity: 9 }]);
}
