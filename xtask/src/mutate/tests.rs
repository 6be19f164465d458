use super::*;

#[test]
fn records_name_the_entries_of_each_kernel() {
    let line = |entry: &str, kernels: &str, proof: &str| {
        format!(r#"{{"package":"nsct","entry":"{entry}","kernels":[{kernels}],"proof":"{proof}"}}"#)
    };
    let lines = [
        line("exact", r#""taps_f32","taps_f64""#, MATCHES),
        line("close", r#""taps_f32""#, MATCHES),
        line("other", r#""blur_f32""#, "cpu_matches_oracle"),
    ];
    let all = proved(&lines.join("\n")).unwrap();
    let entries =
        |kernel: &str| all.get(&("nsct".into(), kernel.into())).map(|e| e.iter().cloned().collect::<Vec<_>>());
    assert_eq!(entries("taps_f32").unwrap(), ["close", "exact"]);
    assert_eq!(entries("taps_f64").unwrap(), ["exact"]);
    assert_eq!(entries("blur_f32"), None);
    assert!(proved("{").is_err());
}

#[test]
fn the_library_is_found_among_the_messages() {
    let file = format!("/t/libsim_driver{}", std::env::consts::DLL_SUFFIX);
    let messages = format!(
        "{{\"reason\":\"x\"}}\n{{\"target\":{{\"name\":\"other\"}},\"filenames\":[\"/t/libother.so\"]}}\n\
        {{\"target\":{{\"name\":\"sim_driver\"}},\"filenames\":[\"/t/libsim_driver.rlib\",\"{file}\"]}}\n"
    );
    assert_eq!(library_in(&messages), Some(PathBuf::from(file)));
    assert_eq!(library_in("{}"), None);
}

/// Every committed kernel is read, and offers faults of several kinds.
#[test]
fn committed_kernels_offer_faults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let all = kernels(root, &[], &[]).unwrap();
    let named: BTreeSet<String> = all.iter().map(|kernel| kernel.body.entry.clone()).collect();
    let mut locked = BTreeSet::new();
    for package in packages(root).unwrap() {
        locked.extend(crate::lock::Lock::load(&package.folder).unwrap().entries());
    }
    assert_eq!(named, locked);
    for kernel in &all {
        let kinds: BTreeSet<_> = kernel.body.faults.iter().map(|fault| fault.kind).collect();
        assert!(kinds.len() >= 3, "{}: {kinds:?}", kernel.name());
        let text = read(&root.join(&kernel.file)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for fault in kernel.body.faults.iter().chain([&kernel.body.trap]) {
            assert!(lines[fault.line - 1].split_whitespace().eq(fault.old.split_whitespace()));
            assert_ne!(fault.old, fault.new);
        }
    }
    assert!(kernels(root, &["no such kernel".into()], &[]).is_err());
    let chosen = kernels(root, &[], &["nsct".into()]).unwrap();
    assert!(chosen.len() < all.len() && chosen.iter().all(|kernel| kernel.package == "nsct"));
    assert!(kernels(root, &[], &["no such package".into()]).is_err());
}

/// The whole way, with a script in the place of the test executable: it notices a removed barrier and a trap, a wrong
/// constant only with all cases; it never launches the kernel `idle`, and no test names `lost`.
#[cfg(unix)]
#[test]
fn a_session_goes_from_records_to_verdicts() {
    use std::os::unix::fs::PermissionsExt;
    let root = std::env::temp_dir().join(format!("xtask-mutate-{}", std::process::id()));
    let kernel = |name: &str| format!(".visible .entry {name}()\n{{\n\tmov.u32 %r1, 3;\n\tbar.sync 0;\n\tret;\n}}\n");
    let ptx = kernel("blur") + &kernel("idle") + &kernel("lost");
    crate::workspace::write(&root.join("crates/p/Cargo.toml"), "").unwrap();
    crate::workspace::write(&root.join("crates/p/kernels/ptx/a.sm_75.ptx"), ptx).unwrap();
    let script = r#"#!/bin/sh
if test "$1" = --list; then
  for proof in cuda_matches_cpu cuda_is_deterministic cpu_matches_oracle; do echo "e::$proof: test"; done; exit
fi
if test -n "$LOCKSTEP_REPORT"; then
  echo '{"package":"p","entry":"e","kernels":["blur","idle"],"proof":"cuda_matches_cpu"}' >> "$LOCKSTEP_REPORT"
fi
if test -n "$SIM_PATCH"; then
  case "$(cat "$SIM_PATCH")" in
  blur*trap*) echo "sim: trap" >&2; exit 101;;
  blur*bar.sync*) echo "sim: race" >&2; exit 101;;
  blur*mov*) test "$LOCKSTEP_CASES" = 64 && exit 101;;
  esac
fi
echo "test result: ok. 1 passed; 0 failed"
"#;
    let file = root.join("fake");
    crate::workspace::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let executable = Executable { package: "p".into(), target: "t".into(), file, folder: root.clone() };
    let options = Options {
        per_kernel: 4,
        seed: 1,
        filter: Vec::new(),
        package: Vec::new(),
        survivors: false,
        only: Vec::new(),
        cases: None,
        timeout: 60,
        jobs: None,
        resume: false,
        recorded: false,
        write: false,
        strict: false,
        verbose: false,
        driver: None,
        prebuilt: None,
    };
    let session = |resume| Session {
        options: &options,
        jobs: 2,
        runner: Runner::new(&root, "lib".into(), Duration::from_secs(9), 1, false).unwrap(),
        ledger: Ledger::open(&root.join("mutants.jsonl"), resume).unwrap(),
    };
    let first = session(false);
    let kernels = kernels(&root, &[], &[]).unwrap();
    let all = tests(&[executable]).unwrap();
    assert_eq!(all.len(), 2);
    let tests = first.tests_of(&kernels, all, &root.join("records.jsonl")).unwrap();
    assert_eq!(tests.values().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    let mut untested = Vec::new();
    let launched = first.launched(&kernels, &tests, &mut untested).unwrap();
    assert_eq!(untested, ["p: lost: no passing test names it", "p: idle: its tests never launch it"]);
    let mutants: Vec<Mutant> =
        launched.iter().flat_map(|kernel| Selection::lines(&[]).mutants(kernel, &options)).collect();
    let verdicts = |session: &Session| -> Vec<Verdict> {
        session.judge(&mutants, &tests).unwrap().iter().map(|record| record.verdict).collect()
    };
    assert_eq!(verdicts(&first), [Verdict::WrongResult, Verdict::Fault]);
    drop(first);
    // Nothing runs again: without its executable it could not.
    std::fs::remove_file(root.join("fake")).unwrap();
    assert_eq!(verdicts(&session(true)), [Verdict::WrongResult, Verdict::Fault]);
    let mut summary = Summary {
        commit: String::new(),
        seed: 1,
        per_kernel: 4,
        cases: 8,
        records: Vec::new(),
        untested: Vec::new(),
        unmet: Vec::new(),
        equivalents: Equivalents::default(),
        whole: true,
    };
    recorded(&kernels, &Selection::lines(&[]), &options, &session(true).ledger, &mut summary);
    let verdicts: Vec<Verdict> = summary.records.iter().map(|record| record.verdict).collect();
    assert_eq!(verdicts, [Verdict::WrongResult, Verdict::Fault]);
    assert_eq!((summary.untested.len(), summary.unmet), (1, vec!["p: lost: all".to_owned()]));
    std::fs::remove_dir_all(&root).unwrap();
}
