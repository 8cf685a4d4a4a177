//! Bytes that are almost right: a seed with a few changes.

/// No mutant is longer.
const BYTES_MAX: usize = 128 << 10;
/// Numbers that decoders trip over more often than others.
const TELLING: [u64; 16] = [
    0,
    1,
    3,
    4,
    127,
    255,
    512,
    4096,
    65_535,
    1 << 20,
    i32::MAX as u64,
    u32::MAX as u64 - 7,
    u32::MAX as u64,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// SplitMix64: the same mutants on every machine.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `n` (> 0).
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// One of `parents` (there is one) with one to five changes.
pub fn mutant(parents: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = parents[random.below(parents.len())].clone();
    for _ in 0..=random.below(5) {
        let at = random.below(bytes.len() + 1);
        match random.below(9) {
            0 | 1 => flip(&mut bytes, at, random),
            2 => overwrite(&mut bytes, at, &[random.next() as u8]),
            3 => bytes.insert(at, random.next() as u8),
            4 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            5 => {
                let number = TELLING[random.below(TELLING.len())].to_le_bytes();
                // Words lie at multiples of their length more often than not.
                let (len, at) = if random.below(2) == 0 { (4, at & !3) } else { (8, at & !7) };
                overwrite(&mut bytes, at, &number[..len]);
            }
            6 => {
                let other = &parents[random.below(parents.len())];
                let part = part(other, 64, random);
                bytes.splice(at..at, part);
            }
            7 => {
                let part = part(&bytes, 32, random);
                overwrite(&mut bytes, at, &part);
            }
            _ if random.below(4) == 0 => bytes.truncate(at),
            _ => flip(&mut bytes, at, random),
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn flip(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// As much of `part` as there is room for.
fn overwrite(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..].iter_mut().zip(part).for_each(|(byte, new)| *byte = *new);
}

fn part(of: &[u8], len_max: usize, random: &mut Random) -> Vec<u8> {
    let from = random.below(of.len() + 1);
    of[from..(from + random.below(len_max)).min(of.len())].to_vec()
}
