//! Modules, kernels, launches.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use super::device::{PROCESSORS, SHARED, shared_optin};
use super::settings::{SETTINGS, patched};
use super::state::{
    Code, Function, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, LAUNCH_FAILED, LAUNCH_OUT_OF_RESOURCES, Module,
    NO_BINARY, NOT_FOUND, NOT_SUPPORTED, Object, STATE, SUCCESS, lock,
};
use super::{code, current, enter, give, handle, on_stream, pointer, stream};
use crate::launch::{Launch, Published};
use crate::ptx::Space;

const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// Reads a module and places its variables.
fn load(text: &str, device: usize) -> Result<Module, (Code, String)> {
    let text = patched(text, &SETTINGS.patches);
    let tree = crate::parse::module(&text).map_err(|e| {
        let code = if e.why.starts_with("Unsupported") { NOT_SUPPORTED } else { INVALID_PTX };
        (code, e.to_string())
    })?;
    check_target(&tree.target)?;
    let mut variables = HashMap::new();
    let device_variables =
        || tree.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const) && !v.is_extern);
    let mut memory = lock(&STATE.memory);
    for variable in device_variables() {
        let bytes = variable.size.max(1) as u64;
        let what = format!("the variable {}", variable.name);
        let start = memory.allocate(device, bytes, &what).map_err(|code| (code, "no memory for a variable".into()))?;
        variables.insert(variable.name.clone(), (start, bytes));
    }
    for variable in device_variables() {
        let (start, _) = variables[&variable.name];
        let mut bytes = variable.contents.clone();
        bytes.resize(variable.size, 0);
        for (at, name, offset) in &variable.addresses {
            let Some((address, _)) = variables.get(name) else {
                return Err((INVALID_PTX, format!("{} holds the address of {name}, which is not here", variable.name)));
            };
            bytes[*at..*at + 8].copy_from_slice(&address.wrapping_add(*offset as u64).to_le_bytes());
        }
        if let Some((region, offset)) = memory.find(start, bytes.len() as u64) {
            region.put(offset, &bytes);
        }
    }
    drop(memory);
    let text = Arc::new(text.lines().map(str::to_owned).collect());
    Ok(Module { device, tree, text, variables })
}

/// A device runs code for its own architecture and for older ones.
fn check_target(target: &str) -> Result<(), (Code, String)> {
    let digits: String = target.chars().filter(char::is_ascii_digit).collect();
    let Ok(wanted) = digits.parse::<u32>() else { return Err((INVALID_PTX, format!("`{target}` is no target"))) };
    let here = SETTINGS.arch.0 * 10 + SETTINGS.arch.1;
    let exact = target.ends_with('a');
    if wanted > here || (exact && wanted != here) {
        return Err((NO_BINARY, format!("the code is for {target}, the device is sm_{here}")));
    }
    Ok(())
}

fn made(to: *mut *mut c_void, image: *const c_void, log: Option<(*mut u8, usize)>) -> Result<(), Code> {
    let device = current("cuModuleLoadDataEx")?;
    if image.is_null() || to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller gives PTX that ends in NUL, or machine code, which is longer than its four first bytes.
    let text = unsafe { CStr::from_ptr(image.cast::<c_char>()) };
    let loaded = match text.to_str() {
        Ok(text) if !text.starts_with('\u{7f}') && text.contains(".version") => load(text, device),
        Ok(text) if text.starts_with('\u{7f}') => {
            Err((NO_BINARY, "machine code cannot be interpreted, only PTX".into()))
        }
        _ => Err((INVALID_PTX, "this is not PTX".into())),
    };
    match loaded {
        // SAFETY: the caller's pointer, not null.
        Ok(module) => unsafe { give(to, pointer(STATE.add(Object::Module(Arc::new(module))))) },
        Err((code, why)) => {
            STATE.explain(code, &why);
            if let Some((buffer, len)) = log.filter(|(buffer, len)| !buffer.is_null() && *len > 0) {
                let text = format!("ptx: {why}");
                let kept = text.len().min(len - 1);
                // SAFETY: the caller gives a buffer of `len` bytes; `kept + 1` are at most as many.
                unsafe {
                    buffer.copy_from(text.as_ptr(), kept);
                    buffer.add(kept).write(0);
                }
            }
            Err(code)
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(to: *mut *mut c_void, image: *const c_void) -> Code {
    code(made(to, image, None))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut *mut c_void,
    image: *const c_void,
    count: c_uint,
    options: *const c_int,
    values: *const *mut c_void,
) -> Code {
    let (mut buffer, mut len) = (std::ptr::null_mut(), 0);
    if !options.is_null() && !values.is_null() {
        for i in 0..count as usize {
            // SAFETY: the caller gives `count` options with as many values.
            let (option, value) = unsafe { (options.add(i).read(), values.add(i).read()) };
            match option {
                ERROR_LOG => buffer = value.cast::<u8>(),
                // Sizes travel in the place of the pointer.
                ERROR_LOG_BYTES => len = value.addr(),
                _ => {}
            }
        }
    }
    code(made(to, image, Some((buffer, len))))
}

fn module(of: *mut c_void) -> Result<Arc<Module>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Module(module)) => Ok(module),
        _ => Err(INVALID_HANDLE),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(of: *mut c_void) -> Code {
    let result = enter("cuModuleUnload").and_then(|()| module(of)).map(|module| {
        STATE.remove(handle(of));
        let mut memory = lock(&STATE.memory);
        for (start, _) in module.variables.values() {
            memory.free(*start);
        }
    });
    code(result)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(to: *mut *mut c_void, of: *mut c_void, name: *const c_char) -> Code {
    let result = current("cuModuleGetFunction").and_then(|_| {
        let module = module(of)?;
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller gives a text that ends in NUL.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| INVALID_VALUE)?;
        if !module.tree.functions.iter().any(|f| f.is_entry && f.name == name) {
            return Err(NOT_FOUND);
        }
        let addresses = module.variables.iter().map(|(name, (start, _))| (name.clone(), *start)).collect();
        let program = crate::lower::entry(&module.tree, name, &addresses, &module.text).map_err(|e| {
            let line = module.text.get(e.line.saturating_sub(1) as usize).map_or("", |line| line.trim());
            let why = format!("unsupported in kernel {name}, PTX line {} `{line}`: {}", e.line, e.why);
            super::say(&why);
            STATE.explain(NOT_SUPPORTED, &why);
            NOT_SUPPORTED
        })?;
        if program.shared > shared_optin() as u32 {
            STATE.explain(INVALID_PTX, &format!("{name} declares {} bytes of shared memory", program.shared));
            return Err(INVALID_PTX);
        }
        let most = (SHARED as usize).saturating_sub(program.shared as usize);
        let function = Function { device: module.device, program, most_dynamic: AtomicUsize::new(most) };
        // SAFETY: the caller's pointer.
        unsafe { give(to, pointer(STATE.add(Object::Function(Arc::new(function))))) }
    });
    code(result)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    bytes: *mut usize,
    of: *mut c_void,
    name: *const c_char,
) -> Code {
    let result = current("cuModuleGetGlobal_v2").and_then(|_| {
        let module = module(of)?;
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller gives a text that ends in NUL.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| INVALID_VALUE)?;
        let &(start, len) = module.variables.get(name).ok_or(NOT_FOUND)?;
        // SAFETY: both pointers are the caller's and may be null.
        unsafe {
            if !address.is_null() {
                give(address, start)?;
            }
            if !bytes.is_null() {
                give(bytes, len as usize)?;
            }
        }
        Ok(())
    });
    code(result)
}

fn function(of: *mut c_void) -> Result<Arc<Function>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Function(function)) => Ok(function),
        _ => Err(INVALID_HANDLE),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, of: *mut c_void) -> Code {
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
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(of: *mut c_void, attribute: c_int, value: c_int) -> Code {
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
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(of: *mut c_void, _config: c_int) -> Code {
    code(enter("cuFuncSetCacheConfig").and_then(|()| function(of)).map(drop))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    of: *mut c_void,
    threads: c_int,
    _shared: usize,
) -> Code {
    let result = enter("cuOccupancyMaxActiveBlocksPerMultiprocessor").and_then(|()| {
        function(of)?;
        // SAFETY: the caller's pointer.
        unsafe { give(blocks, (2048 / threads.max(1)).clamp(1, 32)) }
    });
    code(result)
}

/// The bytes of a launch's arguments, in the kernel's layout.
///
/// # Safety
/// `arguments` is null or has a pointer for each parameter to as many bytes as it has; `extra` is null or a list as
/// `cuLaunchKernel` describes it.
unsafe fn gather(function: &Function, arguments: *mut *mut c_void, extra: *mut *mut c_void) -> Result<Vec<u8>, Code> {
    let program = &function.program;
    let mut bytes = vec![0; program.parameter_bytes as usize];
    if !extra.is_null() {
        let (mut buffer, mut len) = (std::ptr::null_mut::<u8>(), None);
        for i in (0..8).step_by(2) {
            // SAFETY: the list ends with a null pointer, says the caller.
            let key = unsafe { extra.add(i).read() }.addr();
            if key == 0 {
                break;
            }
            // SAFETY: every key has a value.
            let value = unsafe { extra.add(i + 1).read() };
            match key {
                1 => buffer = value.cast(),
                // SAFETY: this value points to a size.
                2 => len = Some(unsafe { value.cast::<usize>().read() }),
                _ => return Err(INVALID_VALUE),
            }
        }
        if buffer.is_null() || len != Some(bytes.len()) {
            let why = format!(
                "kernel {} takes {} bytes of arguments, the launch gives {}",
                program.name,
                bytes.len(),
                len.unwrap_or(0)
            );
            super::say(&why);
            STATE.explain(INVALID_VALUE, &why);
            return Err(INVALID_VALUE);
        }
        // SAFETY: the buffer has as many bytes as the caller says.
        unsafe { buffer.copy_to(bytes.as_mut_ptr(), bytes.len()) };
        return Ok(bytes);
    }
    for (i, &(offset, size)) in program.parameters.iter().enumerate() {
        if arguments.is_null() {
            let why =
                format!("kernel {} takes {} arguments, the launch gives none", program.name, program.parameters.len());
            STATE.explain(INVALID_VALUE, &why);
            return Err(INVALID_VALUE);
        }
        // SAFETY: one pointer a parameter, says the caller.
        let from = unsafe { arguments.add(i).read() }.cast::<u8>();
        if from.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: as many bytes as the parameter has, says the caller; `bytes` has room for all of them.
        unsafe { from.copy_to(bytes.as_mut_ptr().add(offset as usize), size as usize) };
    }
    Ok(bytes)
}

struct Shape {
    grid: [u32; 3],
    threads: [u32; 3],
    dynamic: u32,
    cooperative: bool,
}

fn check(function: &Function, shape: &Shape) -> Result<(), Code> {
    let all = |v: [u32; 3]| v.iter().map(|&n| u64::from(n)).product::<u64>();
    let (grid, threads) = (shape.grid, shape.threads);
    let refuse = |code: Code, why: String| {
        STATE.explain(code, &why);
        Err(code)
    };
    if all(grid) == 0
        || all(threads) == 0
        || all(threads) > 1024
        || threads[2] > 64
        || grid[1] > 65535
        || grid[2] > 65535
        || grid[0] > i32::MAX as u32
    {
        return refuse(INVALID_VALUE, format!("grid {grid:?} of blocks {threads:?} is beyond the device"));
    }
    if all(threads) > u64::from(function.program.most_threads) {
        let most = function.program.most_threads;
        return refuse(LAUNCH_OUT_OF_RESOURCES, format!("{} threads a block, the kernel allows {most}", all(threads)));
    }
    let most = function.most_dynamic.load(Relaxed);
    if shape.dynamic as usize > most {
        let why = format!("{} bytes of dynamic shared memory, the kernel may have {most}", shape.dynamic);
        return refuse(INVALID_VALUE, why);
    }
    // As many blocks as are resident at once.
    if shape.cooperative && all(grid) > PROCESSORS as u64 * (2048 / all(threads)).clamp(1, 32) {
        return refuse(720, format!("a cooperative launch of {} blocks", all(grid)));
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
    let first_block = STATE.blocks.fetch_add(blocks + 1, Relaxed);
    let mut checks = SETTINGS.checks;
    checks.race &= first_block + blocks < u64::from(u32::MAX);
    let memories = lock(&STATE.memory).memories();
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
        published: Published::default(),
        begin: Instant::now(),
        number,
        processors: PROCESSORS as u32,
    };
    let result = crate::grid::run(&launch, shape.cooperative);
    if SETTINGS.verbose {
        let used = SETTINGS.fuel - launch.fuel.load(Relaxed);
        super::say(&format!(
            "{} {:?} {:?}: {:.3} ms, {} registers, {used} instructions at least",
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
    shape: Shape,
    on: *mut c_void,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    let result = current(name).and_then(|device| {
        let function = function(of)?;
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
    let (grid, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let shape = Shape { grid, threads, dynamic: shared, cooperative: false };
    // SAFETY: the caller keeps the rules of this function.
    unsafe { launch("cuLaunchKernel", of, shape, on, arguments, extra) }
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
    let (grid, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let shape = Shape { grid, threads, dynamic: shared, cooperative: true };
    // SAFETY: the caller keeps the rules of this function.
    unsafe { launch("cuLaunchCooperativeKernel", of, shape, on, arguments, std::ptr::null_mut()) }
}
