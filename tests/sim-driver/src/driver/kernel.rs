//! Kernels: what is told of them, and launches.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::arguments::gather;
use super::device::{PROCESSORS, most_blocks, shared_optin};
use super::settings::SETTINGS;
use super::state::{
    Code, Function, INVALID_HANDLE, INVALID_VALUE, LAUNCH_FAILED, LAUNCH_OUT_OF_RESOURCES, NOT_SUPPORTED,
    OUT_OF_MEMORY, Object, STATE, SUCCESS, TOO_MANY_BLOCKS, lock,
};
use super::{caught, code, current, enter, give, handle, on_stream, stream, tell};
use crate::launch::{Launch, Refused, check_shape, no_lists};
use crate::order::Shelf;

pub(super) fn function(of: *mut c_void) -> Result<Arc<Function>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Function(function)) => Ok(function),
        _ => Err(INVALID_HANDLE),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, of: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuFuncGetAttribute").and_then(|()| {
            let function = function(of)?;
            let program = &function.program;
            let found = match attribute {
                0 => program.most_threads as c_int,
                1 => program.shared as c_int,
                3 => program.local as c_int,
                4 => 32,
                5 | 6 => 75,
                8 => function.most_dynamic.load(Relaxed) as c_int,
                _ => 0,
            };
            // SAFETY: the caller's pointer.
            unsafe { give(value, found) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(of: *mut c_void, attribute: c_int, value: c_int) -> Code {
    caught(|| {
        let result = enter("cuFuncSetAttribute").and_then(|()| {
            let function = function(of)?;
            if attribute == 8 {
                let room = shared_optin() - function.program.shared as c_int;
                if value < 0 || value > room {
                    return Err(INVALID_VALUE);
                }
                function.most_dynamic.store(value as usize, Relaxed);
            }
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(of: *mut c_void, _config: c_int) -> Code {
    caught(|| code(enter("cuFuncSetCacheConfig").and_then(|()| function(of)).map(drop)))
}

struct Shape {
    grid: [u32; 3],
    threads: [u32; 3],
    dynamic: u32,
    cooperative: bool,
}

fn check(function: &Function, shape: &Shape) -> Result<(), Code> {
    let name = &function.program.name;
    let refuse = |code: Code, why: String| Err(tell::refuse(code, &format!("kernel {name}: {why}")));
    let resident = shape.cooperative.then_some(PROCESSORS as u32);
    if let Err((refused, why)) = check_shape(&function.program, shape.grid, shape.threads, resident, most_blocks()) {
        let code = match refused {
            Refused::Shape => INVALID_VALUE,
            Refused::Threads => LAUNCH_OUT_OF_RESOURCES,
            Refused::Blocks => TOO_MANY_BLOCKS,
        };
        return refuse(code, why);
    }
    let most = function.most_dynamic.load(Relaxed);
    if shape.dynamic as usize > most {
        let why = format!("{} bytes of dynamic shared memory, the kernel may have {most}", shape.dynamic);
        return refuse(INVALID_VALUE, why);
    }
    Ok(())
}

/// Runs a kernel; a fault loses the device.
fn run(function: &Function, shape: &Shape, parameters: &[u8]) -> Code {
    let number = STATE.launches.fetch_add(1, Relaxed) + 1;
    if SETTINGS.lose_device == Some(number) {
        STATE.lose(
            function.device,
            LAUNCH_FAILED,
            &format!("the device is lost at launch {number}, as SIM_LOSE_DEVICE says"),
        );
        return SUCCESS;
    }
    let blocks: u64 = shape.grid.iter().map(|&n| u64::from(n)).product();
    // Numbers of blocks are 32 bits of a stamp: beyond that nothing is watched any more.
    let taken = STATE.blocks.fetch_update(Relaxed, Relaxed, |all| Some(all.saturating_add(blocks + 1)));
    let first_block = taken.unwrap_or_else(|all| all);
    let mut checks = SETTINGS.checks;
    checks.race &= first_block.saturating_add(blocks) < u64::from(u32::MAX);
    let mut memories = lock(&STATE.memory).memories();
    if shape.cooperative {
        match memories.with_workspace(function.device) {
            Some(more) => memories = more,
            None => return OUT_OF_MEMORY,
        }
    }
    let launch = Launch {
        program: &function.program,
        grid: shape.grid,
        threads: shape.threads,
        parameters,
        dynamic_shared: shape.dynamic,
        memories,
        device: function.device,
        first_block,
        blocks,
        checks,
        fuel: AtomicU64::new(SETTINGS.fuel),
        shelf: Shelf::default(),
        lists: no_lists(),
        begin: Instant::now(),
        number,
        cooperative: shape.cooperative,
        processors: PROCESSORS as u32,
    };
    let result = crate::grid::run(&launch);
    if SETTINGS.verbose {
        let used = SETTINGS.fuel - launch.fuel.load(Relaxed);
        super::say(&format!(
            "{} {:?} {:?}: {:.3} ms, {} registers, {used} instructions of warps",
            function.program.name,
            shape.grid,
            shape.threads,
            launch.begin.elapsed().as_secs_f64() * 1e3,
            function.program.registers.iter().sum::<u32>(),
        ));
    }
    if let Err(report) = result {
        STATE.fault(function.device, &report);
    }
    SUCCESS
}

/// # Safety
/// As `cuLaunchKernel`.
unsafe fn launch(
    name: &str,
    of: *mut c_void,
    shape: impl FnOnce() -> Result<Shape, Code>,
    on: *mut c_void,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    let result = current(name).and_then(|device| {
        let (function, shape) = (function(of)?, shape()?);
        check(&function, &shape)?;
        // SAFETY: the caller's arguments.
        let parameters = unsafe { gather(&function, arguments, extra)? };
        on_stream(
            &*stream(on, device)?,
            Arc::new(move || match STATE.health(function.device) {
                SUCCESS => run(&function, &shape, &parameters),
                code => code,
            }),
        )
    });
    code(result)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    of: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    on: *mut c_void,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    caught(|| {
        let (grid, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = || Ok(Shape { grid, threads, dynamic: shared, cooperative: false });
        // SAFETY: the caller keeps the rules of this function.
        unsafe { launch("cuLaunchKernel", of, shape, on, arguments, extra) }
    })
}

/// `CUlaunchAttribute`: a number, and a value that begins 8 bytes behind it.
#[repr(C)]
struct Attribute {
    id: c_uint,
    padding: c_uint,
    value: [c_uint; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
struct Config {
    grid: [c_uint; 3],
    threads: [c_uint; 3],
    dynamic: c_uint,
    stream: *mut c_void,
    attributes: *const Attribute,
    count: c_uint,
}

/// Whether a launch with these attributes is cooperative. Work is done in the order of the calls, so hints and early
/// starts change nothing.
fn cooperative(attributes: &[Attribute]) -> Result<bool, Code> {
    let mut together = false;
    for Attribute { id, value, .. } in attributes {
        match id {
            // Nothing, windows of caches, waiting, clusters' order, early starts, priorities, domains, carve-outs.
            0 | 1 | 3 | 5 | 6 | 8 | 9 | 10 | 14 => {}
            2 => together = value[0] != 0,
            4 if value[..3] == [1; 3] => {}
            4 => return Err(tell::refuse(NOT_SUPPORTED, "clusters of several blocks are not simulated")),
            _ => return Err(tell::refuse(NOT_SUPPORTED, &format!("launch attribute {id} is not simulated"))),
        }
    }
    Ok(together)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernelEx(
    config: *const Config,
    of: *mut c_void,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    caught(|| {
        // SAFETY: the caller gives one, or null.
        let Some(config) = (unsafe { config.as_ref() }) else { return INVALID_VALUE };
        let attributes = match config.count {
            0 => &[][..],
            _ if config.attributes.is_null() => return INVALID_VALUE,
            // SAFETY: the caller gives so many.
            count => unsafe { std::slice::from_raw_parts(config.attributes, count as usize) },
        };
        let Config { grid, threads, dynamic, stream, .. } = *config;
        let shape = || Ok(Shape { grid, threads, dynamic, cooperative: cooperative(attributes)? });
        // SAFETY: the caller keeps the rules of this function.
        unsafe { launch("cuLaunchKernelEx", of, shape, stream, arguments, extra) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchCooperativeKernel(
    of: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    on: *mut c_void,
    arguments: *mut *mut c_void,
) -> Code {
    caught(|| {
        let (grid, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = || Ok(Shape { grid, threads, dynamic: shared, cooperative: true });
        // SAFETY: the caller keeps the rules of this function.
        unsafe { launch("cuLaunchCooperativeKernel", of, shape, on, arguments, std::ptr::null_mut()) }
    })
}
