//! What tests of kernels use from Rust: outputs that are read back, limits, lines of the source.

use sim_driver::{Argument, Options, Shape, launch, launch_with};

fn ptx(body: &str) -> String {
    format!(
        ".version 7.0\n.target sm_70\n.address_size 64\n.file 1 \"user.cu\"\n.file 2 \"helper.hpp\"\n\
         .visible .entry k(.param .u64 a) {{\n.reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>;\n\
         ld.param.u64 %rd1, [a]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2;\n\
         {body}\nret;\n}}\n"
    )
}

const SHAPE: Shape = Shape { grid: [1; 3], block: [4, 1, 1], shared: 0, cooperative: false };

#[test]
fn an_output_is_read_back_with_what_was_written() {
    let mut all = [Argument::Unwritten(16)];
    launch(&ptx("st.global.u32 [%rd3], %r1;"), "k", SHAPE, &mut all).unwrap();
    assert_eq!(all[0].bytes().unwrap()[8..12], [2, 0, 0, 0]);
    assert_eq!(all[0].first_unwritten(), None);
    let mut some = [Argument::Unwritten(20)];
    launch(&ptx("st.global.u32 [%rd3], %r1;"), "k", SHAPE, &mut some).unwrap();
    assert_eq!((some[0].bytes(), some[0].first_unwritten()), (None, Some(16)));
    let Argument::Output { bytes, written } = &some[0] else { panic!("{some:?}") };
    assert!(bytes[12] == 3 && written[15] && !written[16]);
    assert_eq!(Argument::Unwritten(4).first_unwritten(), Some(0));
}

#[test]
fn an_output_keeps_what_is_known_of_it() {
    let mut output = [Argument::Unwritten(32)];
    let half = ptx("st.global.u32 [%rd3], %r1;");
    launch(&half, "k", SHAPE, &mut output).unwrap();
    // The half that is written may be read, the other may not.
    launch(&ptx("ld.global.u32 %r2, [%rd3]; add.s32 %r2, %r2, 1; st.global.u32 [%rd3], %r2;"), "k", SHAPE, &mut output)
        .unwrap();
    let failure = launch(&ptx("ld.global.u32 %r2, [%rd3+16];"), "k", SHAPE, &mut output).unwrap_err();
    assert_eq!(failure.kind, "read of memory that nobody wrote", "{failure}");
    launch(&ptx("st.global.u32 [%rd3+16], %r1;"), "k", SHAPE, &mut output).unwrap();
    let bytes = output[0].bytes().unwrap();
    assert_eq!((bytes[12], bytes[28]), (4, 3));
}

#[test]
fn fuel_is_what_the_caller_gives() {
    let count = ptx("mov.u32 %r2, 0;\n$L:\nadd.s32 %r2, %r2, 1;\nsetp.lt.u32 %p1, %r2, 100000;\n@%p1 bra $L;");
    launch(&count, "k", SHAPE, &mut [Argument::Unwritten(16)]).unwrap();
    let few = Options { fuel: 50_000 };
    let failure = launch_with(&count, "k", SHAPE, &mut [Argument::Unwritten(16)], few).unwrap_err();
    assert_eq!(failure.kind, "too many instructions", "{failure}");
    assert!(failure.message.contains("Options::fuel"), "{failure}");
}

#[test]
fn a_line_of_a_helper_names_its_caller() {
    let body =
        ".loc 2 7 3, function_name $L__info_string0, inlined_at 1 42 5\nld.global.u32 %r2, [%rd3+64];\n.loc 1 43 1";
    let failure = launch(&ptx(body), "k", SHAPE, &mut [Argument::Buffer(vec![0; 16])]).unwrap_err();
    assert!(failure.message.contains("helper.hpp:7, inlined at user.cu:42:"), "{failure}");
}

#[test]
fn a_misaligned_access_says_what_it_must_be_a_multiple_of() {
    let failure = launch(&ptx("ld.global.u32 \t%r2, [%rd3+2];"), "k", SHAPE, &mut [Argument::Buffer(vec![0; 16])]);
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("which is no multiple of 4"), "{failure}");
    // Tabs of the compiler would part the columns of a patch.
    assert!(failure.message.contains("`ld.global.u32 %r2, [%rd3+2];`"), "{failure}");
}
