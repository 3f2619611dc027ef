//! Compares what two runs decided: the same inputs must give the same decisions, and where they do not, the first difference says why.

use super::fold::Record;
use crate::event::Decision;
use crate::id::Seq;

/// Where two runs differ first.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Position among all decisions.
    pub position: usize,
    /// The decision of the first run and the input that it came from; `None`: the run had ended.
    pub first: Option<(Seq, Decision)>,
    /// The same of the second run.
    pub second: Option<(Seq, Decision)>,
}

/// The first decision that differs, `None` when all are the same.
pub fn first_difference(first: &[Record], second: &[Record]) -> Option<Difference> {
    let (mut a, mut b) = (decisions(first), decisions(second));
    for position in 0.. {
        let (first, second) = (a.next(), b.next());
        if first.is_none() && second.is_none() {
            return None;
        }
        if first != second {
            let own = |side: Option<(Seq, &Decision)>| side.map(|(seq, decision)| (seq, decision.clone()));
            return Some(Difference { position, first: own(first), second: own(second) });
        }
    }
    None
}

/// The comparison as text for people.
pub fn report(first: &[Record], second: &[Record]) -> String {
    let side = |side: &Option<(Seq, Decision)>| match side {
        Some((seq, decision)) => format!("input {}: {decision:?}", seq.0),
        None => "nothing more was decided".to_owned(),
    };
    match first_difference(first, second) {
        None => format!("both runs made the same {} decisions", decisions(first).count()),
        Some(d) => format!(
            "decision {} is the first that differs\n  first:  {}\n  second: {}",
            d.position,
            side(&d.first),
            side(&d.second)
        ),
    }
}

fn decisions(records: &[Record]) -> impl Iterator<Item = (Seq, &Decision)> {
    records.iter().flat_map(|record| {
        let (seq, decisions) = match record {
            Record::Decisions(seq, _, decisions) => (*seq, decisions.as_slice()),
            Record::Input(_) => (Seq(0), &[][..]),
        };
        decisions.iter().map(move |decision| (seq, decision))
    })
}
