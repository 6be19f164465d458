//! Addresses, and what has been written.

use sim_driver::{Argument, Shape, launch};

use crate::common::*;

#[test]
fn reads_and_writes_outside_of_a_buffer() {
    good("ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;", shape(1, 64));
    let read = bad("\nld.global.u32 %r8, [%rd4+128];", shape(1, 64), BOUNDS);
    assert_eq!((read.line, read.block, read.thread), (FIRST + 1, Some([0; 3]), Some([32, 0, 0])), "{read}");
    assert!(read.message.contains("byte 256 of argument 0 of 256 bytes"), "{read}");
    assert!(read.message.contains("`ld.global.u32 %r8, [%rd4+128];`") && read.message.contains("kernel k"), "{read}");
    let write = bad("st.global.u32 [%rd5+-8], %r1;", shape(1, 64), BOUNDS);
    assert!(write.message.contains("8 bytes before argument 1"), "{write}");
    bad("ld.global.v4.u32 {%r8, %r9, %r10, %r11}, [%rd1+248];", shape(1, 1), "misaligned address");
    bad("ld.local.u32 %r8, [%rd3];", shape(1, 1), BOUNDS);
}

#[test]
fn the_line_of_the_source_is_named() {
    let body = ".loc 1 42 7\nld.global.u32 %r8, [%rd4+1024];";
    let text = ptx(body).replace(".extern .shared", ".file 1 \"kernels/taps.cu\"\n.extern .shared");
    let failure = launch(&text, "k", shape(1, 1), &mut [words(8), words(8)]).unwrap_err();
    assert!(failure.message.contains("kernels/taps.cu:42"), "{failure}");
}

#[test]
fn misaligned_addresses() {
    bad("ld.global.u32 %r8, [%rd1+2];", shape(1, 1), "misaligned address");
    bad("st.shared.u32 [%r4+1], %r1;", shape(1, 1), "misaligned address");
    good("ld.global.u16 %h1, [%rd1+2];", shape(1, 1));
}

#[test]
fn memory_that_has_been_freed() {
    let body = "ld.global.u32 %r8, [%rd4];";
    let failure = run(body, shape(1, 8), Argument::Freed(256), words(64)).unwrap_err();
    assert_eq!(failure.kind, "use after free", "{failure}");
    assert!(failure.message.contains("argument 0 of 256 bytes that has been freed"), "{failure}");
}

#[test]
fn memory_that_nobody_wrote() {
    let body = "ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;";
    let failure = run(body, shape(1, 8), Argument::Unwritten(256), words(64)).unwrap_err();
    assert_eq!(failure.kind, UNWRITTEN, "{failure}");
    // What the kernel writes by itself it may read.
    let body = "st.global.u32 [%rd4], %r1; ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;";
    assert_eq!(run(body, shape(1, 8), Argument::Unwritten(256), words(64)).unwrap()[7], 7);
    bad("ld.shared.u32 %r8, [%r5];", shape(1, 8), UNWRITTEN);
    // Half a word is not a word.
    bad("st.shared.u16 [%r5], 7; ld.shared.u32 %r8, [%r5];", shape(1, 8), UNWRITTEN);
}

#[test]
fn shared_memory_beyond_the_declared_size() {
    let body = "st.shared.u32 [%r5], %r1;";
    good(body, shape(1, 64));
    let failure = bad(body, shape(1, 65), BOUNDS);
    assert!(failure.message.contains("256 bytes"), "{failure}");
    let dynamic = "st.shared.u32 [%r7], %r1;";
    bad(dynamic, shape(1, 8), BOUNDS);
    good(dynamic, Shape { shared: 32, ..shape(1, 8) });
    bad(dynamic, Shape { shared: 28, ..shape(1, 8) }, BOUNDS);
}
