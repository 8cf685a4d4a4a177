//! What a task itself remembers from epoch to epoch, beside the state of its stages: how far event time has come, and counts.
//!
//! It is one section of a chunk, called [`SECTION`], written whole whenever something in it changed: a few hundred bytes. Entries
//! are named, so that a pipeline may get new sources, shuffles and stages. (I-10)
//!
//! ```text
//! memory   = version u8 (7) | low | n varint, source* | n varint, inward* | n varint, stage* | n varint, outward*
//! source   = name | watermark | 3 counts
//! inward   = topic | low | n varint, (mark | until)* | 3 counts         (a shuffle that leads here; until version 6 without `until`)
//! stage    = name | reset | n varint, term* | versions | low | table | 11 counts | block
//!                            (version 2 had no `versions`, version 3 no `table`, version 4 no `block` and 9 counts, version 5 no `reset`;
//!                             version 6 is the same, beside aggregates that knew the revisions of a window by its end alone)
//! reset    = offset + 1, varint, or 0                         (when it began anew, see `anew`)
//! table    = watermark                                       (of a lookup's table; the least one, if it is none)
//! term     = name | value                                     (what decides its results, see `terms`)
//! versions                                                    (of its plugin's state, see `versions`)
//! block    = rows varint | wrong varint                      (what a limit on errors counts, see `failing`)
//! outward  = topic | mark | granted                           (a shuffle that leads away: what was sent last; until version 6 without `granted`)
//! mark     = watermark | idle bool
//! low, watermark, until, granted = signed        counts = varint each          name, topic, value = bytes
//! ```

use crate::{
    plan::Plan,
    record::Offset,
    stage::StageCounts,
    state::{ByteWriter, ChangeReader, StateError},
    task::{
        Outward,
        anew::Restoring,
        combining,
        failing::Block,
        input::{InputState, SourceCounts},
        stages::Stage,
    },
    time::Watermark,
    watermark::{InputMark, LowWatermark},
};

/// No stage may have this name.
pub(super) const SECTION: &str = "@task";
const VERSION: u8 = 7;

/// The parts of a task that are remembered here.
pub(super) struct Memory<'a> {
    pub plan: &'a Plan,
    pub low: &'a mut LowWatermark,
    pub inputs: &'a mut [InputState],
    pub stages: &'a mut Vec<Stage>,
    pub outward: &'a mut [Outward],
}

impl Memory<'_> {
    pub fn write(&mut self) -> Vec<u8> {
        let mut to = ByteWriter::default();
        to.u8(VERSION);
        to.signed(self.low.watermark().0);
        let sources = || self.inputs.iter().filter_map(InputState::as_source);
        to.varint(sources().count() as u64);
        for source in sources() {
            to.bytes(self.plan.sources[source.source].name.as_bytes());
            to.signed(source.clock.watermark().0);
            write_counts(&mut to, &source.counts.totals());
        }
        let inward = || self.inputs.iter().filter_map(InputState::as_shuffle);
        to.varint(inward().count() as u64);
        for shuffle in inward() {
            to.bytes(self.plan.shuffles[shuffle.shuffle].topic.as_bytes());
            to.signed(shuffle.upstreams.mark().watermark.0);
            to.varint(shuffle.upstreams.marks().len() as u64);
            for (mark, until) in shuffle.upstreams.marks() {
                write_mark(&mut to, mark);
                to.signed(until.0);
            }
            write_counts(&mut to, &shuffle.counts.totals());
        }
        to.varint(self.stages.len() as u64);
        for stage in self.stages.iter_mut() {
            to.bytes(self.plan.stages[stage.idx].name.as_bytes());
            to.varint(stage.reset.map_or(0, |offset| offset as u64 + 1));
            stage.terms.write(&mut to);
            stage.versions.write(stage.state.state_bytes() > 0, &mut to);
            to.signed(stage.low.watermark().0);
            to.signed(stage.table.as_ref().map_or(Watermark::UNKNOWN, |table| table.low.watermark()).0);
            write_counts(&mut to, &stage_totals(&stage.counts));
            write_counts(&mut to, &stage.block.totals());
        }
        to.varint(self.outward.len() as u64);
        for outward in self.outward.iter() {
            to.bytes(self.plan.shuffles[outward.shuffle].topic.as_bytes());
            write_mark(&mut to, outward.sent);
            to.signed(outward.granted.0);
        }
        to.into_bytes()
    }

    pub fn read(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        let version = from.u8()?;
        if !(2..=VERSION).contains(&version) {
            return Err(StateError::Version { found: version, reads: VERSION });
        }
        let plan = self.plan;
        self.low.restore(Watermark(from.signed()?));
        for _ in 0..from.varint()? {
            let name = read_name(from)?;
            let mut sources = self.inputs.iter_mut().filter_map(InputState::as_source_mut);
            let source = sources.find(|source| *plan.sources[source.source].name == *name).ok_or_else(|| unknown(name))?;
            source.clock.restore(Watermark(from.signed()?));
            source.counts = SourceCounts::of_totals(read_counts(from)?);
        }
        for _ in 0..from.varint()? {
            let name = read_name(from)?;
            let mut shuffles = self.inputs.iter_mut().filter_map(InputState::as_shuffle_mut);
            let shuffle = shuffles.find(|shuffle| *plan.shuffles[shuffle.shuffle].topic == *name).ok_or_else(|| unknown(name))?;
            let low = Watermark(from.signed()?);
            let n_marks = from.varint()?;
            if n_marks > u64::from(plan.n_partitions) {
                return Err(StateError::Damaged("more upstream tasks than partitions"));
            }
            let mark = |_| Ok((read_mark(from)?, if version > 6 { Watermark(from.signed()?) } else { Watermark::END }));
            let marks = (0..n_marks).map(mark).collect::<Result<Vec<_>, StateError>>()?;
            shuffle.upstreams.restore(&marks, low);
            shuffle.counts = SourceCounts::of_totals(read_counts(from)?);
        }
        for _ in 0..from.varint()? {
            let name = read_name(from)?;
            let at = match self.stages.iter().position(|stage| *plan.stages[stage.idx].name == *name) {
                Some(at) => at,
                None => {
                    let former = combining::former_stage(plan, name, self.outward, self.stages);
                    self.stages.push(former.ok_or_else(|| unknown(name))?);
                    self.stages.len() - 1
                }
            };
            let stage = &mut self.stages[at];
            let reset = if version > 5 { read_reset(from)? } else { None };
            let others = stage.terms.read_others(from)?;
            stage.begin_restoring(name, reset, others)?;
            match stage.restoring {
                _ if version == 2 => {}
                Restoring::Whole => stage.versions.check(name, from)?,
                Restoring::Forgotten | Restoring::Skipped => stage.versions.forget(from)?,
            }
            stage.low.restore(Watermark(from.signed()?));
            if version > 3 {
                let low = Watermark(from.signed()?);
                stage.table.iter_mut().for_each(|table| table.low.restore(low));
            }
            stage.counts = if version > 4 { stage_counts(read_counts(from)?) } else { stage_counts_4(read_counts(from)?) };
            if version > 4 {
                stage.block = Block::of_totals(read_counts(from)?);
            }
        }
        for _ in 0..from.varint()? {
            let name = read_name(from)?;
            let mut outward = self.outward.iter_mut();
            let outward = outward.find(|outward| *plan.shuffles[outward.shuffle].topic == *name).ok_or_else(|| unknown(name))?;
            outward.sent = read_mark(from)?;
            outward.low.restore(outward.sent.watermark);
            // Before version 7 nobody knows whether it ever was idle.
            outward.granted = if version > 6 { Watermark(from.signed()?) } else { Watermark::END };
        }
        if from.is_empty() { Ok(()) } else { Err(StateError::Damaged("bytes after a task's memory")) }
    }
}

fn unknown(name: &str) -> StateError {
    StateError::UnknownStage(name.to_owned())
}

fn read_name<'a>(from: &mut ChangeReader<'a>) -> Result<&'a str, StateError> {
    std::str::from_utf8(from.bytes()?).map_err(|_| StateError::Damaged("a name"))
}

fn read_reset(from: &mut ChangeReader<'_>) -> Result<Option<Offset>, StateError> {
    let next = i64::try_from(from.varint()?).map_err(|_| StateError::Damaged("the offset of a reset"))?;
    Ok((next > 0).then(|| next - 1))
}

fn write_mark(to: &mut ByteWriter, mark: InputMark) {
    to.signed(mark.watermark.0);
    to.bool(mark.is_idle);
}

fn read_mark(from: &mut ChangeReader<'_>) -> Result<InputMark, StateError> {
    Ok(InputMark { watermark: Watermark(from.signed()?), is_idle: from.bool()? })
}

fn write_counts(to: &mut ByteWriter, counts: &[u64]) {
    counts.iter().for_each(|count| to.varint(*count));
}

fn read_counts<const N: usize>(from: &mut ChangeReader<'_>) -> Result<[u64; N], StateError> {
    let mut counts = [0; N];
    for count in &mut counts {
        *count = from.varint()?;
    }
    Ok(counts)
}

fn stage_totals(counts: &StageCounts) -> [u64; 11] {
    let StageCounts { rows_in, accepted, duplicate, conflicting, late, dead, rows_out, .. } = *counts;
    let StageCounts { late_panes, dead_panes, skipped, skipped_panes, .. } = *counts;
    [rows_in, accepted, duplicate, conflicting, late, dead, rows_out, late_panes, dead_panes, skipped, skipped_panes]
}

fn stage_counts(
    [rows_in, accepted, duplicate, conflicting, late, dead, rows_out, late_panes, dead_panes, skipped, skipped_panes]: [u64; 11],
) -> StageCounts {
    StageCounts {
        rows_in,
        accepted,
        duplicate,
        conflicting,
        late,
        dead,
        rows_out,
        late_panes,
        dead_panes,
        skipped,
        skipped_panes,
    }
}

/// Up to version 4 nothing was ever skipped.
fn stage_counts_4(totals: [u64; 9]) -> StageCounts {
    let mut all = [0; 11];
    all[..9].copy_from_slice(&totals);
    stage_counts(all)
}

/// `total` and what was counted since.
pub(super) fn add_counts(total: &mut StageCounts, more: &StageCounts) {
    let (mut sums, more) = (stage_totals(total), stage_totals(more));
    sums.iter_mut().zip(more).for_each(|(sum, count)| *sum += count);
    *total = stage_counts(sums);
}
