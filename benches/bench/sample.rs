//! The cells of one contestant at one number of connections, over all rounds.

use super::contestant::Contestant;
use super::lookups::Cell;
use super::spread::Spread;

/// Which cells.
#[derive(Clone, Copy)]
pub(crate) struct Sample<'c> {
    pub(crate) cells: &'c [Cell],
    pub(crate) contestant: Contestant,
    pub(crate) connections: usize,
}

impl Sample<'_> {
    /// A figure of theirs.
    pub(crate) fn spread(&self, figure: fn(&Cell) -> f64) -> Option<Spread> {
        Spread::of(self.of(self.contestant).map(figure))
    }

    /// The same, each divided by that of HAProxy in its round, which asks over TLS if the contestant does.
    pub(crate) fn ratio(&self, figure: fn(&Cell) -> f64) -> Option<Spread> {
        self.ratio_to(self.contestant.reference(), figure)
    }

    /// The same, each divided by that of `other` in its round.
    pub(crate) fn ratio_to(&self, other: Contestant, figure: fn(&Cell) -> f64) -> Option<Spread> {
        let measure = |round| self.of(other).find(|cell| cell.round == round);
        let ratios = self.of(self.contestant);
        let ratios = ratios.filter_map(|cell| Some(figure(cell) / figure(measure(cell.round)?)));
        // What the backend has not, as a proxy's CPU time, has no ratio.
        Spread::of(ratios.filter(|ratio| *ratio > 0.0))
    }

    fn of(&self, contestant: Contestant) -> impl Iterator<Item = &Cell> {
        let connections = self.connections;
        self.cells.iter().filter(move |cell| cell.contestant == contestant && cell.connections == connections)
    }
}
