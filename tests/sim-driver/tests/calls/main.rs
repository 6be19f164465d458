//! The driver's functions as programs call them. Each test that needs settings of its own, or loses the device, runs in
//! a process of its own.

mod library;
mod process;

use library::*;
use process::alone;
use sim_driver as _;

/// Adds 1 to `n` words, and stores past the end when `n` is larger.
const ADD: &str = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry add(.param .u64 x, .param .u32 n) {\n\
    .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<5>;\n\
    ld.param.u64 %rd1, [x]; ld.param.u32 %r1, [n]; mov.u32 %r2, %tid.x; setp.ge.u32 %p1, %r2, %r1;\n@%p1 ret;\n\
    mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;\nld.global.u32 %r3, [%rd3];\nadd.s32 %r4, %r3, 1;\n\
    st.global.u32 [%rd3], %r4;\nret;\n}\n.visible .entry other() { ret; }\n";

#[test]
fn the_quick_start_of_cust() {
    alone("the_quick_start_of_cust", &[], || {
        start();
        let mut value = 0;
        ok(primary_flags(0, 0));
        ok(api_version(0, &mut value));
        assert_eq!(value, 3020);
        assert_eq!(add(&[1, 2, 3], 3), [2, 3, 4]);
    });
}

#[test]
fn contexts_form_a_stack() {
    alone("contexts_form_a_stack", &[], || {
        let primary = start();
        let mut made = 0;
        ok(context_create(&mut made, 4, 0));
        assert!(made != primary && context() == made && context_flags() == 4);
        ok(push(primary));
        assert_eq!(context(), primary);
        assert_eq!((pop(), context()), (primary, made));
        ok(context_destroy(made));
        assert_eq!(context(), primary);
        assert_eq!(context_destroy(made), 201);
        assert_eq!(context_destroy(primary), 201);
        assert_eq!(pop(), primary);
        assert_eq!((context(), allocate(4)), (0, Err(201)));
    });
}

#[test]
fn limits_and_priorities_are_kept() {
    alone("limits_and_priorities_are_kept", &[], || {
        start();
        assert_eq!(limit(0), Ok(1024));
        ok(set_limit(0, 4096));
        assert_eq!((limit(0), limit(99)), (Ok(4096), Err(215)));
        let stream = stream(1, -3);
        assert_eq!(flags_and_priority(stream), (1, -3));
    });
}

#[test]
fn managed_memory_is_seen_by_both_sides() {
    alone("managed_memory_is_seen_by_both_sides", &[], || {
        start();
        let x = managed(12);
        // SAFETY: 12 bytes that the host may use.
        let words =
            unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u32>(x as usize), 3) };
        words.copy_from_slice(&[5, 6, 7]);
        ok(launch(kernel("add"), 32, &[&x.to_le_bytes(), &3u32.to_le_bytes()]));
        assert_eq!(words, [6, 7, 8]);
        ok(free(x));
        assert_eq!(free(x), 1);
    });
}

#[test]
fn rows_are_filled_and_copied() {
    alone("rows_are_filled_and_copied", &[], || {
        start();
        let (x, pitch) = rows(6, 3);
        assert_eq!(pitch, 512);
        ok(fill_rows(x, pitch, 0x0201, 3, 3));
        let mut out = [0u8; 24];
        ok(copy_rows(&mut out, 8, x, pitch, 6, 3));
        assert_eq!(out[..8], [1, 2, 1, 2, 1, 2, 0, 0]);
        assert_eq!(out[16..22], [1, 2, 1, 2, 1, 2]);
        assert_eq!(copy_rows(&mut out, 4, x, pitch, 6, 3), 1);
    });
}

#[test]
fn block_sizes_are_proposed() {
    alone("block_sizes_are_proposed", &[], || {
        start();
        let add = kernel("add");
        assert_eq!(proposed(add, 0, 0), (16, 1024));
        assert_eq!(proposed(add, 0, 200), (128, 128));
        // Each block leaves room for one more only.
        assert_eq!(proposed(add, 100 << 10, 0), (16, 1024));
        assert_eq!(available(add, 2, 128), Ok(48 << 10));
        assert_eq!(available(add, 8, 128), Ok((228 << 10) / 8 - 1024));
        assert_eq!(available(add, 33, 128), Err(1));
    });
}

#[test]
fn functions_of_the_host_run_in_order() {
    alone("functions_of_the_host_run_in_order", &[], || {
        start();
        assert_eq!(host_calls(3), 3);
    });
}

#[test]
fn a_function_that_is_not_simulated_says_its_name() {
    let out = alone("a_function_that_is_not_simulated_says_its_name", &[], || {
        start();
        assert_eq!(link_create(), 801);
        assert!(words(801).contains("cuLinkCreate_v2"), "{}", words(801));
    });
    assert!(out.contains("sim: cuLinkCreate_v2: this function is not simulated"), "{out}");
}

#[test]
fn launches_with_attributes() {
    let out = alone("launches_with_attributes", &[("SIM_ERROR", "cuLaunchKernelEx:4:77")], || {
        start();
        let other = kernel("other");
        // An early start, one block that is a cluster by itself, and a cooperative grid.
        ok(launch_with(other, 1, &[(6, [1, 0, 0]), (4, [1, 1, 1])], &mut []));
        ok(launch_with(other, 1, &[(2, [1, 0, 0])], &mut []));
        assert_eq!(launch_with(other, 1, &[(4, [2, 1, 1])], &mut []), 801);
        assert_eq!(launch_with(other, 1, &[], &mut []), 77);
        assert_eq!(launch_with(other, 1, &[(7, [0; 3])], &mut []), 801);
        ok(synchronize());
    });
    assert!(out.contains("cuLaunchKernelEx: clusters of several blocks are not simulated"), "{out}");
    assert!(out.contains("launch attribute 7 is not simulated"), "{out}");
}

#[test]
fn a_grid_is_within_what_the_device_tells() {
    alone("a_grid_is_within_what_the_device_tells", &[("SIM_ATTRIBUTES", "6=3")], || {
        start();
        let other = kernel("other");
        ok(launch_with(other, 3, &[], &mut []));
        assert_eq!(launch_with(other, 4, &[], &mut []), 1);
    });
}

#[test]
fn refused_calls_say_why() {
    let report = std::env::temp_dir().join(format!("sim-driver-{}.jsonl", std::process::id()));
    let name = report.display().to_string();
    let out = alone("refused_calls_say_why", &[("SIM_REPORT", &name)], || {
        start();
        let add = kernel("add");
        let x = allocate(12).unwrap();
        assert_eq!(launch(add, 2048, &[&x.to_le_bytes(), &3u32.to_le_bytes()]), 1);
        assert!(words(1).contains("kernel add"), "{}", words(1));
        assert_eq!(find("ad"), Err(500));
        assert_eq!(load(".version 7.0\n.target sm_70\n.visible .entry k( {"), Err(218));
        assert_eq!(load("\u{7f}ELF"), Err(209));
        ok(free(x));
        assert_eq!(free(x), 1);
        assert_eq!(copy_out(&mut [0; 4], x), 1);
        // What an earlier call did wrong is not said of this one.
        assert_eq!(event_record_nowhere(), 400);
        assert_eq!(stream_without_place(), 1);
        assert_eq!(words(1), "CUDA_ERROR_INVALID_VALUE");
    });
    for part in [
        "cuLaunchKernel: kernel add: ",
        "cuModuleGetFunction: the module has no kernel ad; it has add, other",
        "cuModuleLoadData: ",
        "a cubin holds machine code",
        "cuMemFree_v2: 0x",
        "has been freed before",
        "cuMemcpyDtoH_v2: copies from 4 bytes at",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let lines = std::fs::read_to_string(&report).unwrap_or_default();
    let _ = std::fs::remove_file(&report);
    assert!(lines.lines().all(|line| line.starts_with("{\"kind\":\"refused\",\"call\":\"cu")), "{lines}");
    assert!(lines.lines().count() >= 6, "{lines}");
}

#[test]
fn arguments_that_are_missing_are_told() {
    let out = alone("arguments_that_are_missing_are_told", &[], || {
        start();
        let x = allocate(12).unwrap();
        assert_eq!(launch_raw(kernel("add"), &mut [std::ptr::from_ref(&x).addr(), 64]), 1);
        assert_eq!(launch_raw(kernel("add"), &mut [0, 0]), 1);
    });
    assert!(out.contains("argument 1 of add cannot be read"), "{out}");
    assert!(out.contains("did the launch pass fewer than 2 arguments?"), "{out}");
    assert!(out.contains("argument 0 of add is at the null pointer"), "{out}");
}

#[test]
fn wrong_settings_fail_the_first_call() {
    for (name, value) in [("SIM_MEMORY", "8G"), ("SIM_ERROR", "cuMemAlloc:1:2"), ("SIM_PATCH", "/nowhere")] {
        let out = alone("wrong_settings_fail_the_first_call", &[(name, value)], || assert_eq!(init(), 1));
        assert!(out.contains(&format!("sim: cuInit: {name}={value}")), "{out}");
    }
}

#[test]
fn planned_faults_that_never_come_are_told() {
    let plans = [("SIM_FAIL_ALLOCATION", "99"), ("SIM_LOSE_DEVICE", "4"), ("SIM_ERROR", "cuMemFree_v2:7:1")];
    let out = alone("planned_faults_that_never_come_are_told", &plans, || {
        start();
        ok(free(allocate(4).unwrap()));
    });
    for plan in ["SIM_FAIL_ALLOCATION=99", "SIM_LOSE_DEVICE=4", "SIM_ERROR=cuMemFree_v2:7:1"] {
        assert!(out.contains(&format!("sim: {plan} was not reached: there were ")), "{out}");
    }
}

#[test]
fn planned_faults_say_that_they_were_planned() {
    let plans = [("SIM_FAIL_ALLOCATION", "2"), ("SIM_LOSE_DEVICE", "1"), ("SIM_ERROR", "cuEventQuery:1:4242")];
    let out = alone("planned_faults_say_that_they_were_planned", &plans, || {
        start();
        let x = allocate(4).unwrap();
        assert_eq!(allocate(4), Err(2));
        assert_eq!(event_query_nowhere(), 4242);
        ok(launch(kernel("add"), 1, &[&x.to_le_bytes(), &0u32.to_le_bytes()]));
        assert_eq!(synchronize(), 719);
    });
    for part in ["as SIM_FAIL_ALLOCATION says", "fails with 4242, as SIM_ERROR says", "as SIM_LOSE_DEVICE says"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(!out.contains("was not reached"), "{out}");
}

#[test]
fn a_lost_device_is_told_again_on_other_threads() {
    let out = alone("a_lost_device_is_told_again_on_other_threads", &[], || {
        start();
        let x = allocate(12).unwrap();
        ok(launch(kernel("add"), 32, &[&x.to_le_bytes(), &9u32.to_le_bytes()]));
        assert_ne!(synchronize(), 0);
        let told = std::thread::spawn(|| {
            start();
            assert_ne!(synchronize(), 0);
        });
        told.join().unwrap();
    });
    assert!(out.contains("device 0 was lost at an earlier fault: "), "{out}");
}

#[test]
fn null_and_host_pointers_are_named() {
    for (x, why) in [(0u64, "the null pointer"), (0x7FFF_0000_0000, "is it an address of the host?")] {
        let value = format!("{x}");
        let out = alone("null_and_host_pointers_are_named", &[("TEST_ADDRESS", &value)], || {
            start();
            let x: u64 = std::env::var("TEST_ADDRESS").unwrap().parse().unwrap();
            allocate(4).unwrap();
            ok(launch(kernel("add"), 1, &[&x.to_le_bytes(), &1u32.to_le_bytes()]));
            assert_eq!(synchronize(), 700);
        });
        assert!(out.contains(why), "{out}");
    }
}
