//! Recorded sequences of work.

use std::ffi::{c_int, c_ulonglong, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::state::{CAPTURE_INVALID, Code, INVALID_HANDLE, INVALID_VALUE, Node, Object, STATE, SUCCESS, lock};
use super::{caught, code, current, enter, give, handle, on_stream, pointer, stream};

pub(super) fn graph(of: *mut c_void) -> Result<Arc<Vec<Node>>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Graph(nodes)) => Ok(nodes),
        _ => Err(INVALID_HANDLE),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(of: *mut c_void, _mode: c_int) -> Code {
    caught(|| {
        let result = current("cuStreamBeginCapture_v2").and_then(|device| {
            let stream = stream(of, device)?;
            let mut capture = lock(&stream.capture);
            if capture.is_some() || handle(of) <= 2 {
                return Err(INVALID_VALUE);
            }
            stream.spoiled.store(0, Relaxed);
            *capture = Some(Vec::new());
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamEndCapture(of: *mut c_void, to: *mut *mut c_void) -> Code {
    caught(|| {
        let result = current("cuStreamEndCapture").and_then(|device| {
            let stream = stream(of, device)?;
            let nodes = lock(&stream.capture).take().ok_or(INVALID_VALUE)?;
            if stream.spoiled.swap(0, Relaxed) != 0 {
                // SAFETY: the caller's pointer.
                unsafe { give(to, pointer(0))? };
                return Err(CAPTURE_INVALID);
            }
            // SAFETY: the caller's pointer.
            unsafe { give(to, pointer(STATE.add(Object::Graph(Arc::new(nodes))))) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamIsCapturing(of: *mut c_void, status: *mut c_int) -> Code {
    caught(|| {
        let result = current("cuStreamIsCapturing").and_then(|device| {
            let capturing = lock(&stream(of, device)?.capture).is_some();
            // SAFETY: the caller's pointer.
            unsafe { give(status, c_int::from(capturing)) }
        });
        code(result)
    })
}

/// # Safety
/// `to` is null or valid for a write.
pub(super) unsafe fn instantiate(function: &str, to: *mut *mut c_void, of: *mut c_void) -> Result<(), Code> {
    current(function)?;
    let made = STATE.add(Object::Graph(graph(of)?));
    // SAFETY: says the caller.
    unsafe { give(to, pointer(made)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiateWithFlags(to: *mut *mut c_void, of: *mut c_void, _flags: c_ulonglong) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { instantiate("cuGraphInstantiateWithFlags", to, of) })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(of: *mut c_void, on: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuGraphLaunch").and_then(|device| {
            let nodes = graph(of)?;
            on_stream(
                &*stream(on, device)?,
                Arc::new(move || nodes.iter().map(|node| node()).find(|&code| code != SUCCESS).unwrap_or(SUCCESS)),
            )
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(of: *mut c_void) -> Code {
    caught(|| code(enter("cuGraphExecDestroy").and_then(|()| graph(of)).map(|_| drop(STATE.remove(handle(of))))))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(of: *mut c_void) -> Code {
    caught(|| code(enter("cuGraphDestroy").and_then(|()| graph(of)).map(|_| drop(STATE.remove(handle(of))))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphGetNodes(of: *mut c_void, _nodes: *mut *mut c_void, count: *mut usize) -> Code {
    caught(|| {
        let result = enter("cuGraphGetNodes").and_then(|()| {
            let nodes = graph(of)?.len();
            // SAFETY: the caller's pointer. The nodes themselves are not told.
            unsafe { give(count, nodes) }
        });
        code(result)
    })
}
