//! Errors that a healthy device never gives, asked of the simulated driver (`tests/sim-driver`), each in a process of
//! its own, since the driver reads its orders once.
#![cfg(feature = "cuda")]
// The pages read as in a domain crate, where they are public.
#![allow(unreachable_pub, dead_code)]

mod pages;

mod simulated {
    use std::process::Command;

    use gpu_core::{Backend, Cuda, Error, Result, Tensor};

    use super::pages::axpy::axpy;

    const INNER: &str = "LOCKSTEP_FAULTS_INNER";

    /// Runs `body` in a new process of this test with these orders for the driver.
    fn with(test: &str, orders: &[(&str, &str)], body: impl FnOnce()) {
        if std::env::var(INNER).is_ok_and(|inner| inner == test) {
            return body();
        }
        let driver = std::env::var("LOCKSTEP_DRIVER").unwrap_or_default();
        assert!(
            driver.contains("sim_driver"),
            "LOCKSTEP_DRIVER must name the simulated driver; `cargo xtask test` does"
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("simulated::{test}"), "--include-ignored"]).env(INNER, test);
        let output = command.envs(orders.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn add_one(b: &Cuda, y: &mut Tensor<Cuda, f32, 1>) -> Result<()> {
        let ones = Tensor::from_slice(b, y.shape(), &vec![1.0f32; y.len()])?;
        axpy(b, 1.0, ones.flat(), y.flat_mut())
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn an_allocation_that_fails_costs_nothing() {
        with("an_allocation_that_fails_costs_nothing", &[("SIM_FAIL_ALLOCATION", "3")], || {
            let b = Cuda::open(0).unwrap();
            let _kept: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [100]).unwrap();
            let _too: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [100]).unwrap();
            let used = b.memory().used;
            let error = Tensor::<Cuda, f32, 1>::zeros(&b, [100]).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { requested: 400, .. }), "{error}");
            assert_eq!(b.memory().used, used);
            let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [100]).unwrap();
            add_one(&b, &mut y).unwrap();
            assert_eq!(y.to_vec(&b).unwrap(), [1.0; 100]);
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn memory_that_is_too_small_is_named() {
        with("memory_that_is_too_small_is_named", &[("SIM_MEMORY", "1048576")], || {
            let b = Cuda::open(0).unwrap();
            assert_eq!(b.device().memory, 1 << 20);
            let error = b.zeros::<f32>(1 << 20).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { requested: 4_194_304, .. }), "{error}");
            assert!(b.zeros::<f32>(1000).is_ok());
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_lost_device_is_lost_alone() {
        with("a_lost_device_is_lost_alone", &[("SIM_LOSE_DEVICE", "2"), ("SIM_DEVICES", "2")], || {
            let (b, other) = (Cuda::open(0).unwrap(), Cuda::open(1).unwrap());
            let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [8]).unwrap();
            add_one(&b, &mut y).unwrap();
            let error = add_one(&b, &mut y).and_then(|()| y.to_vec(&b)).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::DeviceLost { .. }) && error.is_sticky(), "{text}");
            assert!(text.contains("axpy_f32") && text.contains("launch 2"), "{text}");
            assert_eq!(b.zeros::<u8>(1).unwrap_err().to_string(), text);
            let mut z: Tensor<Cuda, f32, 1> = Tensor::zeros(&other, [8]).unwrap();
            add_one(&other, &mut z).unwrap();
            assert_eq!(z.to_vec(&other).unwrap(), [1.0; 8]);
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn an_unknown_code_is_kept_and_passes() {
        with("an_unknown_code_is_kept_and_passes", &[("SIM_ERROR", "cuMemcpyDtoHAsync_v2:1:4242")], || {
            let b = Cuda::open(0).unwrap();
            let y = Tensor::from_slice(&b, [2], &[3.0f32, 4.0]).unwrap();
            let error = y.to_vec(&b).unwrap_err();
            assert!(matches!(error, Error::Driver { code: 4242, .. }) && !error.is_sticky(), "{error}");
            assert_eq!(y.to_vec(&b).unwrap(), [3.0, 4.0]);
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn errors_of_other_calls_name_the_call() {
        let calls = [("cuStreamCreate:1:2", "cuStreamCreate"), ("cuModuleLoadDataEx:1:218", "axpy")];
        for (order, name) in calls {
            // One test, one order a process.
            with(
                "errors_of_other_calls_name_the_call",
                &[("SIM_ERROR", order), ("LOCKSTEP_FAULTS_NAME", name)],
                || {
                    let name = std::env::var("LOCKSTEP_FAULTS_NAME").unwrap();
                    let tried = Cuda::open(0).and_then(|b| {
                        let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [4])?;
                        add_one(&b, &mut y)
                    });
                    let error = tried.unwrap_err().to_string();
                    assert!(error.contains(&name), "{name} in {error}");
                },
            );
            if std::env::var(INNER).is_ok() {
                return;
            }
        }
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn two_devices_do_not_share_buffers() {
        with("two_devices_do_not_share_buffers", &[("SIM_DEVICES", "2")], || {
            let all = Cuda::all().unwrap();
            let ordinals: Vec<usize> = all.iter().map(|b| b.device().ordinal).collect();
            assert_eq!(ordinals, [0, 1]);
            let x = Tensor::from_slice(&all[0], [4], &[1.0f32; 4]).unwrap();
            let x = x.share(&all[0]).unwrap();
            let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&all[1], [4]).unwrap();
            let error = axpy(&all[1], 1.0, x.flat(), y.flat_mut()).unwrap_err();
            assert!(matches!(error, Error::WrongQueue { .. }), "{error}");
            let error = Cuda::open(2).unwrap_err().to_string();
            assert!(error.contains("ordinal 2") && error.contains("0 to 1"), "{error}");
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_device_without_pools_works() {
        with("a_device_without_pools_works", &[("SIM_ATTRIBUTES", "115=0"), ("SIM_ARCH", "7.5")], || {
            let b = Cuda::open(0).unwrap();
            assert_eq!(b.device().arch.map(|arch| (arch.major, arch.minor)), Some((7, 5)));
            let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [8]).unwrap();
            add_one(&b, &mut y).unwrap();
            assert_eq!(y.to_vec(&b).unwrap(), [1.0; 8]);
            let before = b.memory().used;
            drop(y);
            assert_eq!(b.memory().used, before - 32);
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_device_that_is_too_old_is_told_so() {
        with("a_device_that_is_too_old_is_told_so", &[("SIM_ARCH", "7.0")], || {
            let b = Cuda::open(0).unwrap();
            let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [8]).unwrap();
            let error = add_one(&b, &mut y).unwrap_err();
            assert!(matches!(error, Error::Kernel { .. }), "{error}");
            assert!(error.to_string().contains("sm_75") && error.to_string().contains("sm_70"), "{error}");
        });
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_driver_without_devices_is_no_device() {
        with("a_driver_without_devices_is_no_device", &[("SIM_DEVICES", "0")], || {
            assert!(matches!(Cuda::open(0), Err(Error::NoDevice { .. })));
            assert!(matches!(Cuda::all(), Err(Error::NoDevice { .. })));
        });
    }
}
