//! Book imbalance.

use crate::book::DepthBook;
use crate::market::{Level, Quote};

/// Imbalance of the best `levels` price levels of each side: `(B − A) / (B + A)`, where `B` is the quantity of the bids and `A`
/// that of the asks. From −1 (only asks) to 1 (only bids); `None` when there is nothing.
///
/// Smoothed, where wanted, by an [`Ema`](super::Ema). Source: Cartea, Jaimungal, Penalva, "Algorithmic and High-Frequency
/// Trading" (2015).
pub fn book_imbalance(book: &DepthBook, levels: usize) -> Option<f64> {
    imbalance(sum(book.bids().take(levels)), sum(book.asks().take(levels)))
}

/// Imbalance of the best level of each side, as [`book_imbalance`] with one level.
pub fn quote_imbalance(quote: &Quote) -> Option<f64> {
    imbalance(quote.bid_quantity.mantissa() as f64, quote.ask_quantity.mantissa() as f64)
}

fn sum(levels: impl Iterator<Item = Level>) -> f64 {
    // Both sides have one scale, which cancels out.
    levels.map(|level| level.quantity.mantissa() as f64).sum()
}

fn imbalance(bids: f64, asks: f64) -> Option<f64> {
    (bids + asks > 0.0).then(|| (bids - asks) / (bids + asks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::naive::NaiveBook;
    use crate::market::BookLevels;
    use crate::num::{Price, Quantity};
    use proptest::prelude::*;

    fn levels(quantities: &[i64], price: impl Fn(i64) -> i64) -> Vec<Level> {
        let level = |(i, &quantity): (usize, &i64)| Level {
            price: Price::from_mantissa(price(i as i64)),
            quantity: Quantity::from_mantissa(quantity).expect("not negative"),
        };
        quantities.iter().enumerate().map(level).collect()
    }

    fn snapshot(bids: &[i64], asks: &[i64]) -> BookLevels {
        BookLevels { bids: levels(bids, |i| 1_000 - i), asks: levels(asks, |i| 1_001 + i), ..BookLevels::default() }
    }

    #[test]
    fn worked_examples() {
        let mut book = DepthBook::new();
        assert_eq!(book_imbalance(&book, 5), None);
        book.apply_reset(&snapshot(&[3, 0, 6], &[1, 2, 50]));
        assert_eq!(book_imbalance(&book, 1), Some(0.5));
        assert_eq!(book_imbalance(&book, 2), Some(0.5));
        assert_eq!(book_imbalance(&book, 0), None);
        assert_eq!(book.quote().and_then(|quote| quote_imbalance(&quote)), Some(0.5));
        book.apply_reset(&snapshot(&[], &[1]));
        assert_eq!(book_imbalance(&book, 9), Some(-1.0));
    }

    proptest! {
        #[test]
        fn it_equals_the_exact_ratio_of_the_naive_book(
            bids in prop::collection::vec(0i64..1_000_000, 0..30),
            asks in prop::collection::vec(0i64..1_000_000, 0..30),
            count in 1usize..25,
        ) {
            let snapshot = snapshot(&bids, &asks);
            let (mut book, mut naive) = (DepthBook::new(), NaiveBook::default());
            book.apply_reset(&snapshot);
            naive.apply_reset(&snapshot);
            let bid: i64 = naive.bids.values().rev().take(count).map(|level| level.quantity.mantissa()).sum();
            let ask: i64 = naive.asks.values().take(count).map(|level| level.quantity.mantissa()).sum();
            let expected = (bid + ask > 0).then(|| (bid - ask) as f64 / (bid + ask) as f64);
            prop_assert_eq!(book_imbalance(&book, count), expected);
        }
    }
}
