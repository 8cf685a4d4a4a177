//! Which results are to be emitted, in the order of (window, key), a bounded number at a time.
//!
//! An advance of the watermark walks over windows, and jumps from one pane that exists to the next: a long gap in event time
//! costs nothing, and neither does a watermark of +∞.

use std::{collections::VecDeque, ops::Range};

use super::{
    panes::{Cell, Panes},
    revisions::Revisions,
    trails::{Sequence, TrailIdx, Trails},
};
use crate::{
    key::HashedKey,
    plan::Emission,
    stage::Revision,
    time::{EventTime, Watermark, Window},
    window::Windowing,
};

/// The most results of one chunk, and so of one call.
const CHUNK_UNITS_MAX: usize = 4096;
/// A chunk ends once its results have more cells than this.
const CHUNK_CELLS_MAX: usize = 64 * 1024;

/// One result to emit: a key in a window that fires.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) window: Window,
    pub(super) source: Source,
    pub(super) revision: Revision,
}

/// Where the states of a result are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A range of [`Units::cells`], in the order of their panes. Never empty.
    Cells(Range<usize>),
    /// All cells of a key in the window. A trail stands at most once in a chunk.
    Trail(TrailIdx, Sequence),
}

/// Some results, and where the states of each are.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    pub(super) cells: Vec<Cell>,
}

impl Units {
    fn is_full(&self) -> bool {
        self.units.len() >= CHUNK_UNITS_MAX || self.cells.len() >= CHUNK_CELLS_MAX
    }

    fn push_cells(&mut self, window: Window, cells: impl IntoIterator<Item = Cell>, revision: Revision) {
        let start = self.cells.len();
        self.cells.extend(cells);
        self.units.push(Unit { window, source: Source::Cells(start..self.cells.len()), revision });
    }
}

/// The firings that are still to be done.
#[derive(Debug)]
pub(super) enum Firing {
    Advance(Advance),
    Again(Again),
}

/// What results are found in.
pub(super) struct Found<'a> {
    pub(super) panes: &'a Panes,
    /// Only for windows of several panes.
    pub(super) trails: Option<&'a mut Trails>,
    pub(super) windowing: &'a Windowing,
    pub(super) revisions: &'a mut Revisions,
}

impl Firing {
    /// The next results, or `None` when all were given.
    pub(super) fn next_units(&mut self, found: Found<'_>) -> Option<Units> {
        let mut units = Units::default();
        match self {
            Firing::Advance(advance) => advance.fill(&mut units, found),
            Firing::Again(again) => again.fill(&mut units, found),
        }
        (!units.units.is_empty()).then_some(units)
    }
}

/// Windows that fire because the watermark has risen.
#[derive(Debug)]
pub(super) struct Advance {
    phases: VecDeque<Phase>,
    /// The last window of this phase that was fired.
    fired: Option<Window>,
    /// The window that is being fired; its results from `next` on are still to be given.
    window: Option<Window>,
    results: Results,
    next: usize,
}

/// The results of one window, sorted by key.
#[derive(Debug)]
enum Results {
    /// Of a window that is one pane.
    Cells(Vec<Sortable>),
    Trails(Vec<TrailIdx>),
}

/// The windows with `after < end <= until` fire alike.
#[derive(Clone, Debug, PartialEq)]
struct Phase {
    after: i64,
    until: i64,
    /// Whether they have fired before.
    again: bool,
    is_final: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sortable {
    /// The first bytes of the key: settles most comparisons without following the cell.
    prefix: u128,
    cell: Cell,
}

impl Advance {
    pub(super) fn new(old: Watermark, new: Watermark, lateness_ms: i64, emission: Emission) -> Advance {
        let (old_final, new_final) = (old.minus(lateness_ms).0, new.minus(lateness_ms).0);
        let (old, new) = (old.0, new.0);
        let phases = match emission {
            Emission::Final => vec![Phase { after: old_final, until: new_final, again: false, is_final: true }],
            Emission::Upsert => vec![
                Phase { after: old_final, until: old.min(new_final), again: true, is_final: true },
                // Both firings are due at once: only the last one is made.
                Phase { after: old, until: new_final, again: false, is_final: true },
                Phase { after: old.max(new_final), until: new, again: false, is_final: false },
            ],
        };
        Advance { phases: phases.into(), fired: None, window: None, results: Results::Cells(Vec::new()), next: 0 }
    }

    fn fill(&mut self, units: &mut Units, mut found: Found<'_>) {
        while !units.is_full() {
            let Some(window) = self.window else {
                if !self.open_next_window(&mut found) {
                    return;
                }
                continue;
            };
            let phase = &self.phases[0];
            let mut revision = |key: &[u8]| {
                let rev = found.revisions.next(window, key, phase.again);
                // Told before: what comes next goes on from here.
                if rev > 0 && !phase.is_final {
                    found.revisions.set(window, key, rev);
                }
                Revision { rev, is_final: phase.is_final }
            };
            let n_left = CHUNK_UNITS_MAX - units.units.len();
            let given = match (&self.results, &found.trails) {
                (Results::Trails(trail_idxs), Some(trails)) => {
                    let sequence = if phase.again { Sequence::Again } else { Sequence::First };
                    let given = trail_idxs.iter().skip(self.next).take(n_left);
                    units.units.extend(given.map(|trail_idx| Unit {
                        window,
                        source: Source::Trail(*trail_idx, sequence),
                        revision: revision(trails.key(*trail_idx)),
                    }));
                    trail_idxs.len()
                }
                (Results::Cells(cells), _) => {
                    for Sortable { cell, .. } in cells.iter().skip(self.next).take(n_left) {
                        units.push_cells(window, [*cell], revision(found.panes.key(*cell)));
                    }
                    cells.len()
                }
                (Results::Trails(_), None) => unreachable!("trails are only listed where there are any"),
            };
            self.next += n_left;
            if self.next >= given {
                self.fired = self.window.take();
                if found.trails.is_some() {
                    // The next window has the same trails, and a chunk may hold each only once.
                    return;
                }
            }
        }
    }

    /// Finds the next window that holds anything and sorts its results; `false` at the end of all phases.
    fn open_next_window(&mut self, found: &mut Found<'_>) -> bool {
        while let Some(phase) = self.phases.front() {
            let from = match self.fired {
                Some(fired) => found.windowing.next(fired),
                None => found.windowing.first_after(Watermark(phase.after)),
            };
            let next = next_window(found.panes, found.windowing, from);
            let Some(window) = next.filter(|window| window.end().0 <= phase.until) else {
                self.phases.pop_front();
                self.fired = None;
                continue;
            };
            self.window = Some(window);
            self.next = 0;
            self.results = match &mut found.trails {
                Some(trails) => {
                    // Nothing that is yet to fire needs what lies before a final window.
                    let oldest = if phase.is_final { window.start() } else { EventTime(i64::MIN) };
                    Results::Trails(trails.open(window, oldest))
                }
                None => Results::Cells(sorted_cells(found.panes, window)),
            };
            return true;
        }
        false
    }
}

/// The cells of a window that is one pane, sorted by key.
fn sorted_cells(panes: &Panes, window: Window) -> Vec<Sortable> {
    let mut cells = Vec::new();
    for pane_idx in panes.range(window.start()..window.end()) {
        let pane = panes.pane(pane_idx);
        cells.extend(
            pane.entries().map(|entry| Sortable { prefix: prefix(pane.key(entry)), cell: Cell { pane: pane_idx, entry } }),
        );
    }
    cells.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| panes.key(a.cell).cmp(panes.key(b.cell))));
    cells
}

/// The first window that has a pane with rows: `from`, or one behind it.
fn next_window(panes: &Panes, windowing: &Windowing, from: Window) -> Option<Window> {
    let pane_start = panes.first_start(from.start())?;
    Some(if pane_start < from.end() { from } else { windowing.first_after(Watermark(pane_start.0)) })
}

fn prefix(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

/// Results that are told although their windows do not fire: of windows that had fired and were changed by late rows of one batch, or of windows
/// that are still to fire ([`super::early`]).
#[derive(Debug)]
pub(super) struct Again {
    /// (window, a cell of the key), sorted by window and key, each once.
    todo: VecDeque<(Window, Cell)>,
    /// The cells that had no state before the batch.
    born: Vec<Cell>,
    /// Whether the windows are still to fire.
    is_early: bool,
}

impl Again {
    /// The results that `changed` and `born` cells belong to, of windows that have fired (`end <= watermark`) and are not closed.
    pub(super) fn new(
        changed: &[Cell],
        mut born: Vec<Cell>,
        panes: &Panes,
        windowing: &Windowing,
        watermark: Watermark,
        lateness_ms: i64,
    ) -> Again {
        let closed_until = watermark.minus(lateness_ms);
        let mut todo: Vec<(Window, Cell)> = Vec::new();
        for cell in changed.iter().chain(&born) {
            let pane = windowing.pane(panes.start(cell.pane));
            let fired = windowing.windows_of(pane).take_while(|window| watermark.reached(window.end()));
            todo.extend(fired.filter(|window| !closed_until.reached(window.end())).map(|window| (window, *cell)));
        }
        born.sort_by_key(|cell| (cell.pane, cell.entry));
        Again { todo: sorted_results(todo, panes), born, is_early: false }
    }

    /// The results that `changed` cells belong to, of windows that have not fired (`watermark < end`).
    pub(super) fn early(changed: &[Cell], panes: &Panes, windowing: &Windowing, watermark: Watermark) -> Again {
        let mut todo: Vec<(Window, Cell)> = Vec::new();
        for cell in changed {
            let windows = windowing.windows_of(windowing.pane(panes.start(cell.pane)));
            todo.extend(windows.filter(|window| !watermark.reached(window.end())).map(|window| (window, *cell)));
        }
        Again { todo: sorted_results(todo, panes), born: Vec::new(), is_early: true }
    }

    fn fill(&mut self, units: &mut Units, found: Found<'_>) {
        let Found { panes, revisions, .. } = found;
        while !units.is_full()
            && let Some((window, cell)) = self.todo.pop_front()
        {
            let key = HashedKey::new(panes.key(cell));
            let of_key = panes.range(window.start()..window.end()).filter_map(|pane| {
                let entry = panes.pane(pane).find(key)?;
                Some(Cell { pane, entry })
            });
            let parts: Vec<Cell> = of_key.collect();
            let is_born =
                |part: &Cell| self.born.binary_search_by_key(&(part.pane, part.entry), |cell| (cell.pane, cell.entry)).is_ok();
            let has_fired = !self.is_early && !parts.iter().all(is_born);
            let rev = revisions.next(window, key.bytes, has_fired);
            if rev > 0 || self.is_early {
                revisions.set(window, key.bytes, rev);
            }
            units.push_cells(window, parts, Revision { rev, is_final: false });
        }
    }
}

/// In the order of (window, key), each once.
fn sorted_results(mut results: Vec<(Window, Cell)>, panes: &Panes) -> VecDeque<(Window, Cell)> {
    results.sort_by(|(a_in, a), (b_in, b)| a_in.cmp(b_in).then_with(|| panes.key(*a).cmp(panes.key(*b))));
    results.dedup_by(|(a_in, a), (b_in, b)| a_in == b_in && panes.key(*a) == panes.key(*b));
    results.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WindowSpec;

    fn ends(panes: &Panes, spec: WindowSpec, after: i64) -> Vec<i64> {
        let windowing = Windowing::new(spec);
        let mut ends = Vec::new();
        let mut from = windowing.first_after(Watermark(after));
        while let Some(window) = next_window(panes, &windowing, from) {
            ends.push(window.end().0);
            from = windowing.next(window);
        }
        ends
    }

    #[test]
    fn empty_windows_are_jumped_over() {
        let mut panes = Panes::default();
        for start in [EventTime::MIN.0, -20, 0, EventTime::MAX.0 / 10 * 10] {
            panes.restore_state(EventTime(start.div_euclid(10) * 10), b"a", b"1");
        }
        let last = EventTime::MAX.0 / 10 * 10 + 10;
        let first = EventTime::MIN.0.div_euclid(10) * 10 + 10;
        assert_eq!(ends(&panes, WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 }, i64::MIN), [first, -10, 10, last]);
        assert_eq!(ends(&panes, WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 }, -10), [10, last]);
        assert_eq!(ends(&panes, WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 }, i64::MAX), []);
        let hopping = WindowSpec::Hopping { size_ms: 30, slide_ms: 10, offset_ms: 0 };
        assert_eq!(ends(&panes, hopping, -15), [-10, 0, 10, 20, 30, last, last + 10, last + 20]);
    }

    #[test]
    fn an_advance_fires_each_window_in_its_right_phase() {
        let phases = |old, new, lateness_ms| {
            let phases = Advance::new(Watermark(old), Watermark(new), lateness_ms, Emission::Upsert).phases;
            phases
                .into_iter()
                .filter(|phase| phase.after < phase.until)
                .map(|phase| (phase.after, phase.until, phase.again, phase.is_final))
                .collect::<Vec<_>>()
        };
        assert_eq!(phases(100, 110, 50), [(50, 60, true, true), (100, 110, false, false)]);
        assert_eq!(phases(100, 200, 50), [(50, 100, true, true), (100, 150, false, true), (150, 200, false, false)]);
        assert_eq!(phases(100, 110, 0), [(100, 110, false, true)]);
        assert_eq!(phases(i64::MIN, 110, 50), [(i64::MIN, 60, false, true), (60, 110, false, false)]);
        assert_eq!(phases(100, i64::MAX, 50), [(50, 100, true, true), (100, i64::MAX, false, true)]);
    }
}
