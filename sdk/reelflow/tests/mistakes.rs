//! The commonest mistakes of plugin authors, and what the compiler says. The texts are those of the toolchain that builds this
//! repository; after an upgrade, `TRYBUILD=overwrite cargo test -p reelflow --test mistakes` writes them anew: read the difference.

#[test]
fn mistakes_are_explained_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
