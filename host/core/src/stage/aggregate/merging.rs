//! How the state of one result comes about: one merge at a time, each with a bounded number of bytes.

use std::ops::Range;

use super::{
    panes::{Cell, Panes},
    trails::{Piece, Sequence, TrailIdx, Trails},
};
use crate::{column::Packed, time::Window};

/// One merge takes parts until it has more bytes than this, and at least two.
const MERGE_BYTES_MAX: usize = 1 << 20;

/// A result on its way.
#[derive(Debug)]
pub(super) struct Merging {
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Merges `cells[next..]` of the unit into `merged`, without any stacks.
    Gather {
        cells: Range<usize>,
        merged: Option<Piece>,
    },
    /// The young cells become suffixes: `cells[at − 1]` of the trail is next.
    Flip {
        slide: Slide,
        cells: Range<usize>,
        at: usize,
    },
    /// Cells that are newer than the stacks go to the young ones.
    Extend {
        slide: Slide,
        cells: Range<usize>,
    },
    /// The longest suffix and the young ones make the result.
    Combine {
        slide: Slide,
    },
    Done(Outcome),
}

/// Which stacks.
#[derive(Clone, Copy, Debug)]
struct Slide {
    trail: TrailIdx,
    sequence: Sequence,
    window: Window,
}

#[derive(Debug)]
enum Outcome {
    Own(Piece),
    Suffix(Slide),
    Young(Slide),
}

impl Merging {
    /// The states of `cells`, a range of the unit's cells.
    pub(super) fn of_cells(all: &[Cell], cells: Range<usize>) -> Merging {
        let step = match cells.len() {
            1 => Step::Done(Outcome::Own(Piece::Cell(all[cells.start]))),
            _ => Step::Gather { cells, merged: None },
        };
        Merging { step }
    }

    /// The state of a key in `window`. Windows of one sequence must come in the order of their ends.
    pub(super) fn of_trail(trails: &mut Trails, trail_idx: TrailIdx, sequence: Sequence, window: Window) -> Merging {
        let slide = Slide { trail: trail_idx, sequence, window };
        let trail = trails.trail_mut(trail_idx);
        let in_window = trail.range(window.start()..window.end());
        let stacks = &mut trail.stacks[sequence as usize];
        while stacks.suffixes.last().is_some_and(|(start, _)| *start < window.start()) {
            stacks.suffixes.pop();
        }
        let is_young_old = stacks.young.as_ref().is_some_and(|(start, _)| *start < window.start());
        let step = if is_young_old {
            stacks.young = None;
            let at = in_window.end - 1;
            let (start, cell) = trail.cells[at];
            stacks.suffixes.push((start, Piece::Cell(cell)));
            Step::Flip { slide, cells: in_window, at }
        } else {
            let new = trail.cells.range(in_window.clone()).take_while(|(start, _)| *start < stacks.upto).count();
            Step::Extend { slide, cells: in_window.start + new..in_window.end }
        };
        Merging { step: step.settled(trails) }
    }

    /// Whether the state is there: no merge is needed any more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.step, Step::Done(_))
    }

    /// Appends the parts of the next merge to `parts`: at least two.
    pub(super) fn push_parts(&self, all: &[Cell], panes: &Panes, trails: &Trails, parts: &mut Packed) {
        match &self.step {
            Step::Gather { cells, merged } => {
                let states = all[cells.clone()].iter().map(|cell| panes.state(*cell));
                push_bounded(merged.as_ref().map(|piece| piece.state(panes)), states, parts);
            }
            Step::Flip { slide, at, .. } => {
                let trail = trails.trail(slide.trail);
                let (_, suffix) =
                    trail.stacks[slide.sequence as usize].suffixes.last().expect("a flip starts with the youngest cell");
                parts.push(panes.state(trail.cells[at - 1].1));
                parts.push(suffix.state(panes));
            }
            Step::Extend { slide, cells } => {
                let trail = trails.trail(slide.trail);
                let young = trail.stacks[slide.sequence as usize].young.as_ref().map(|(_, piece)| piece.state(panes));
                push_bounded(young, trail.cells.range(cells.clone()).map(|(_, cell)| panes.state(*cell)), parts);
            }
            Step::Combine { slide } => {
                let stacks = &trails.trail(slide.trail).stacks[slide.sequence as usize];
                for (_, piece) in stacks.suffixes.last().into_iter().chain(&stacks.young) {
                    parts.push(piece.state(panes));
                }
            }
            Step::Done(_) => {}
        }
    }

    /// Takes the answer to the merge of `n_parts` that `push_parts` gave.
    pub(super) fn merged(&mut self, state: &[u8], n_parts: usize, trails: &mut Trails) {
        let piece = Piece::Merged(state.into());
        let step = std::mem::replace(&mut self.step, Step::Done(Outcome::Own(Piece::Merged(Box::default()))));
        self.step = match step {
            Step::Gather { cells, merged } => {
                let rest = cells.start + n_parts - usize::from(merged.is_some())..cells.end;
                match rest.is_empty() {
                    true => Step::Done(Outcome::Own(piece)),
                    false => Step::Gather { cells: rest, merged: Some(piece) },
                }
            }
            Step::Flip { slide, cells, at } => {
                let trail = trails.trail_mut(slide.trail);
                let start = trail.cells[at - 1].0;
                trail.stacks[slide.sequence as usize].suffixes.push((start, piece));
                Step::Flip { slide, cells, at: at - 1 }
            }
            Step::Extend { slide, cells } => {
                let trail = trails.trail_mut(slide.trail);
                let young = &mut trail.stacks[slide.sequence as usize].young;
                let rest = cells.start + n_parts - usize::from(young.is_some())..cells.end;
                let start = young.as_ref().map_or(trail.cells[cells.start].0, |(start, _)| *start);
                *young = Some((start, piece));
                Step::Extend { slide, cells: rest }
            }
            Step::Combine { .. } | Step::Done(_) => Step::Done(Outcome::Own(piece)),
        }
        .settled(trails);
    }

    /// The state, once it is done.
    pub(super) fn state<'a>(&'a self, panes: &'a Panes, trails: &'a Trails) -> &'a [u8] {
        let stacks = |slide: &Slide| &trails.trail(slide.trail).stacks[slide.sequence as usize];
        let piece = match &self.step {
            Step::Done(Outcome::Own(piece)) => piece,
            Step::Done(Outcome::Suffix(slide)) => &stacks(slide).suffixes.last().expect("nothing moves before it is emitted").1,
            Step::Done(Outcome::Young(slide)) => &stacks(slide).young.as_ref().expect("nothing moves before it is emitted").1,
            step => unreachable!("a state is not merged yet: {step:?}"),
        };
        piece.state(panes)
    }

    /// A merge broke: nothing that was merged half is left behind.
    pub(super) fn give_up(&self, trails: &mut Trails) {
        match &self.step {
            Step::Flip { slide, .. } | Step::Extend { slide, .. } | Step::Combine { slide } => {
                trails.trail_mut(slide.trail).stacks[slide.sequence as usize].clear();
            }
            Step::Gather { .. } | Step::Done(_) => {}
        }
    }
}

impl Step {
    /// Goes on over all that needs no merge.
    fn settled(self, trails: &mut Trails) -> Step {
        match self {
            Step::Flip { slide, cells, at } if at == cells.start => {
                trails.trail_mut(slide.trail).stacks[slide.sequence as usize].upto = slide.window.end();
                Step::Done(Outcome::Suffix(slide))
            }
            Step::Extend { slide, mut cells } => {
                let trail = trails.trail_mut(slide.trail);
                let stacks = &mut trail.stacks[slide.sequence as usize];
                if stacks.young.is_none() && !cells.is_empty() {
                    let (start, cell) = trail.cells[cells.start];
                    stacks.young = Some((start, Piece::Cell(cell)));
                    cells.start += 1;
                }
                if !cells.is_empty() {
                    return Step::Extend { slide, cells };
                }
                stacks.upto = slide.window.end();
                match (stacks.suffixes.is_empty(), stacks.young.is_none()) {
                    (false, false) => Step::Combine { slide },
                    (false, true) => Step::Done(Outcome::Suffix(slide)),
                    (true, _) => Step::Done(Outcome::Young(slide)),
                }
            }
            step => step,
        }
    }
}

/// Appends `first`, if any, and then as many of `rest` as fit into one merge, so that there are at least two.
fn push_bounded<'a>(first: Option<&'a [u8]>, rest: impl Iterator<Item = &'a [u8]>, parts: &mut Packed) {
    let mut n_bytes = 0;
    for (at, state) in first.into_iter().chain(rest).enumerate() {
        n_bytes += state.len();
        if at >= 2 && n_bytes > MERGE_BYTES_MAX {
            return;
        }
        parts.push(state);
    }
}
