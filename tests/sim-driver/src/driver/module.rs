//! Modules: reading them, their variables, their kernels.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use super::device::{SHARED, shared_optin};
use super::settings::SETTINGS;
use super::state::{
    Code, Function, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, Module, NO_BINARY, NOT_FOUND, NOT_SUPPORTED, Object,
    STATE, lock,
};
use super::{caught, code, current, enter, give, handle, pointer, tell};
use crate::variables;

const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// Reads a module and places its variables.
fn load(text: &str, device: usize) -> Result<Module, (Code, String)> {
    let text = SETTINGS.patches.apply(text);
    let tree = crate::parse::module(&text).map_err(|e| {
        let code = if e.is_unsupported() { NOT_SUPPORTED } else { INVALID_PTX };
        (code, e.to_string())
    })?;
    check_target(&tree.target)?;
    let (mut variables, mut addresses) = (HashMap::new(), HashMap::new());
    let mut memory = lock(&STATE.memory);
    for variable in variables::of(&tree) {
        let bytes = variable.size.max(1) as u64;
        let what = format!("the variable {}", variable.name);
        let start = memory.allocate(device, bytes, &what).map_err(|code| (code, "no memory for a variable".into()))?;
        variables.insert(variable.name.clone(), (start, bytes));
        addresses.insert(variable.name.clone(), start);
    }
    for variable in variables::of(&tree) {
        if let Some((region, offset)) = memory.find(addresses[&variable.name], variable.size as u64) {
            variables::fill(&tree, variable, &addresses, &region, offset).map_err(|why| (INVALID_PTX, why))?;
        }
    }
    drop(memory);
    let text = Arc::new(text.lines().map(str::to_owned).collect());
    Ok(Module { device, tree, text, variables, addresses, functions: Mutex::default() })
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

/// Makes a module of what is in memory.
pub(super) fn made(
    device: usize,
    to: *mut *mut c_void,
    image: *const c_void,
    log: Option<(*mut u8, usize)>,
) -> Result<(), Code> {
    if image.is_null() || to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller gives PTX that ends in NUL, or machine code, which has one behind its first bytes.
    let text = unsafe { CStr::from_ptr(image.cast::<c_char>()) };
    let machine = |what: &str| (NO_BINARY, format!("{what} holds machine code; load the PTX instead (nvcc --ptx)"));
    let loaded = match text.to_bytes() {
        [0x7f, b'E', b'L', b'F', ..] => Err(machine("a cubin")),
        // The file itself, and the structure that nvcc puts around it.
        [0x50, 0xed, 0x55, 0xba, ..] | [0xb1, 0x43, 0x62, 0x46, ..] => Err(machine("a fat binary")),
        bytes => match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(".version") => load(text, device),
            Ok(_) => Err((INVALID_PTX, "this is not PTX: it has no .version".into())),
            Err(_) => Err((INVALID_PTX, "this is not PTX: it is no text".into())),
        },
    };
    match loaded {
        // SAFETY: the caller's pointer, not null.
        Ok(module) => unsafe { give(to, pointer(STATE.add(Object::Module(Arc::new(module))))) },
        Err((code, why)) => {
            tell::refuse(code, &why);
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
    caught(|| code(current("cuModuleLoadData").and_then(|device| made(device, to, image, None))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut *mut c_void,
    image: *const c_void,
    count: c_uint,
    options: *const c_int,
    values: *const *mut c_void,
) -> Code {
    caught(|| {
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
        let device = current("cuModuleLoadDataEx");
        code(device.and_then(|device| made(device, to, image, Some((buffer, len)))))
    })
}

/// Refuses a name that a module does not have, and says which ones it has.
fn not_found<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Code {
    /// Names in the message.
    const MOST: usize = 20;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let more = if known.len() > MOST { format!(" and {} more", known.len() - MOST) } else { String::new() };
    known.truncate(MOST);
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    tell::refuse(NOT_FOUND, &format!("the module has no {what} {name}; it has {known}{more}"))
}

fn module(of: *mut c_void) -> Result<Arc<Module>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Module(module)) => Ok(module),
        _ => Err(INVALID_HANDLE),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(of: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuModuleUnload").and_then(|()| module(of)).map(|module| {
            STATE.remove(handle(of));
            for function in lock(&module.functions).values() {
                STATE.remove(*function);
            }
            let mut memory = lock(&STATE.memory);
            for (start, _) in module.variables.values() {
                memory.free(*start);
            }
        });
        code(result)
    })
}

/// Compiles a kernel.
fn compiled(module: &Module, name: &str) -> Result<Function, Code> {
    let program = crate::lower::entry(&module.tree, name, &module.addresses, &module.text).map_err(|e| {
        let line = module.text.get(e.line.saturating_sub(1) as usize).map_or("", |line| line.trim());
        let why = format!("unsupported in kernel {name}, PTX line {} `{line}`: {}", e.line, e.why);
        tell::refuse_with(NOT_SUPPORTED, &why)
    })?;
    if program.shared > shared_optin() as u32 {
        let why = format!("kernel {name} declares {} bytes of shared memory", program.shared);
        return Err(tell::refuse(INVALID_PTX, &why));
    }
    let most = (SHARED as usize).saturating_sub(program.shared as usize);
    Ok(Function { device: module.device, program, most_dynamic: AtomicUsize::new(most) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(to: *mut *mut c_void, of: *mut c_void, name: *const c_char) -> Code {
    caught(|| {
        let result = current("cuModuleGetFunction").and_then(|_| {
            let module = module(of)?;
            if name.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller gives a text that ends in NUL.
            let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| INVALID_VALUE)?;
            if !module.tree.functions.iter().any(|f| f.is_entry && f.name == name) {
                let entries = module.tree.functions.iter().filter(|f| f.is_entry).map(|f| f.name.as_str());
                return Err(not_found("kernel", name, entries));
            }
            let mut functions = lock(&module.functions);
            let known = if let Some(known) = functions.get(name) {
                *known
            } else {
                let function = STATE.add(Object::Function(Arc::new(compiled(&module, name)?)));
                functions.insert(name.to_owned(), function);
                function
            };
            // SAFETY: the caller's pointer.
            unsafe { give(to, pointer(known)) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    bytes: *mut usize,
    of: *mut c_void,
    name: *const c_char,
) -> Code {
    caught(|| {
        let result = current("cuModuleGetGlobal_v2").and_then(|_| {
            let module = module(of)?;
            if name.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller gives a text that ends in NUL.
            let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| INVALID_VALUE)?;
            let missing = || not_found("variable", name, module.variables.keys().map(String::as_str));
            let &(start, len) = module.variables.get(name).ok_or_else(missing)?;
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
    })
}
