//! What is stored of a task, by version.

use super::*;

/// The stored form: changelogs outlive a build, so the bytes of each version must be read for ever (I-10). A task's memory and a dedup.
#[test]
fn the_bytes_of_every_version() {
    let mut task = task();
    handled(&mut task, plays(0, 2));
    let (SealedTask { chunks, .. }, _) = sealed(&mut task);
    let bytes = |hex: &str| {
        let hex = hex.replace(' ', "");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let read = |chunk: &[u8]| {
        let mut restored = Task::new(plan(), 0, 3);
        restored.restore(chunk).unwrap();
        assert_eq!((restored.counts(), restored.watermark()), (task.counts(), task.watermark()));
        assert_eq!(restored.state_bytes(), task.state_bytes());
        assert!(appended(handled(&mut restored, plays(0, 2))).is_empty(), "both are known");
    };
    // Version, checksum; the task's memory; what the dedup keeps. Before `versions` of a plugin's state were remembered:
    let memory_2 = "01 63f83c4a \
                    05407461736b4f020e0105706c6179730e020200000106756e6971756503046b696e640564656475700269640c2869643a20737472696e672907686f \
                    72697a6f6e0231730e0202000000000200000104617761790e00 \
                    06756e697175653801860118b702f1cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f4c4d07c8 \
                    c9d3edc7";
    read(&bytes(memory_2));
    let memory_3 = "01 d4cdf27e \
                    05407461736b50030e0105706c6179730e020200000106756e6971756503046b696e640564656475700269640c2869643a20737472696e672907686f \
                    72697a6f6e023173000e0202000000000200000104617761790e00 \
                    06756e697175653801860118b702f1cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f4c4d07c8 \
                    c9d3edc7";
    read(&bytes(memory_3));
    // With how far the table of a lookup has come.
    let memory_4 = "01 38019f89 \
                    05407461736b5a040e0105706c6179730e020200000106756e6971756503046b696e640564656475700269640c2869643a20737472696e67 \
                    2907686f72697a6f6e023173000effffffffffffffffff010202000000000200000104617761790e0006756e697175653801860118b702f1 \
                    cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f4c4d07c8c9d3edc7";
    read(&bytes(memory_4));
    // With what is skipped, and the block of a limit on errors.
    let memory_5 = "01 b7d26506 \
                    05407461736b5e050e0105706c6179730e020200000106756e6971756503046b696e640564656475700269640c2869643a20737472696e67 \
                    2907686f72697a6f6e023173000effffffffffffffffff01020200000000020000000000000104617761790e0006756e6971756538018601 \
                    18b702f1cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f4c4d07c8c9d3edc7";
    read(&bytes(memory_5));
    // With when a stage began anew.
    let memory_6 = "01 134a5529 \
                    05407461736b5f060e0105706c6179730e020200000106756e697175650003046b696e640564656475700269640c2869643a20737472696e \
                    672907686f72697a6f6e023173000effffffffffffffffff01020200000000020000000000000104617761790e0006756e69717565380186 \
                    0118b702f1cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f4c4d07c8c9d3edc7";
    read(&bytes(memory_6));
    // With aggregates that know the revisions of a window by its start and end, and with how far others may have gone without the task.
    let memory_7 = "01 9c80b2e5 \
                    05407461736b69070e0105706c6179730e020200000106756e697175650003046b696e640564656475700269640c2869643a20737472696e \
                    672907686f72697a6f6e023173000effffffffffffffffff01020200000000020000000000000104617761790e00ffffffffffffffffff01 \
                    06756e697175653801860118b702f1cb6281c513e35ffe7637c86c9e7203725d958d6b14018601184da3836cc103757edf5ec0b95aaea51f \
                    4c4d07c8c9d3edc7";
    assert_eq!(chunks, [bytes(memory_7)]);
    read(&bytes(memory_7));
}
