//! Asynchronous copies.

use crate::common::*;

#[test]
fn asynchronous_copies_are_late() {
    let body = "cp.async.ca.shared.global [%r5], [%rd4], 4;\ncp.async.commit_group;\nWAIT\n\
        ld.shared.u32 %r8, [%r5]; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(&body.replace("WAIT", "cp.async.wait_group 0;"), shape(1, 32))[9], 9);
    bad(&body.replace("WAIT", "cp.async.wait_group 1;"), shape(1, 32), UNWRITTEN);
}
