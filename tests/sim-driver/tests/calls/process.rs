//! Tests in processes of their own.

use std::process::Command;

/// Names the test that a process was started for.
const INNER: &str = "SIM_DRIVER_TEST";

/// Runs the body in a new process with these variables; what it writes to standard error. Ends the inner process.
pub(crate) fn alone(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) -> String {
    if std::env::var(INNER).is_ok_and(|inner| inner == test) {
        body();
        // What follows in the test is for the outer process.
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().expect("this program has a file"));
    command.args(["--exact", test, "--nocapture"]).env(INNER, test).envs(variables.iter().copied());
    let output = command.output().expect("this program can be started again");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}{errors}", String::from_utf8_lossy(&output.stdout));
    errors
}
