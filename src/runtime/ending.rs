//! That a thread ended, told however it did: by a return, an error, a panic, or because it never began.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;

/// Calls somebody when it is dropped.
pub struct Ending(Option<Box<dyn FnOnce() + Send>>);

impl Ending {
    /// `told` is called once.
    pub fn new(told: impl FnOnce() + Send + 'static) -> Ending {
        Ending(Some(Box::new(told)))
    }

    /// From here on it lives as long as the thread that calls this.
    pub fn of_this_thread(self) {
        ENDINGS.with(|endings| endings.borrow_mut().push(self));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told();
        }
    }
}

thread_local! {
    static ENDINGS: RefCell<Vec<Ending>> = const { RefCell::new(Vec::new()) };
}

/// What a panic said.
pub fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

/// Panics are told to `tell` in one line each: thread, place and words. Whatever it does must neither wait nor panic.
pub fn on_panic(tell: impl Fn(std::fmt::Arguments<'_>) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let words = words_of(panic.payload());
        match panic.location() {
            Some(place) => tell(format_args!("thread {name} panicked at {place}: {words}")),
            None => tell(format_args!("thread {name} panicked: {words}")),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn an_end_is_told_once_however_it_comes() {
        let (tell, told) = channel();
        let ending = |name: &'static str| {
            let tell = tell.clone();
            Ending::new(move || tell.send(name).unwrap())
        };
        let thread = |work: fn(), ending: Ending| {
            let thread = std::thread::Builder::new().spawn(move || {
                ending.of_this_thread();
                work();
            });
            let _ = thread.unwrap().join();
        };
        thread(|| (), ending("returned"));
        assert_eq!(told.try_recv().unwrap(), "returned");
        thread(|| panic!("on purpose"), ending("panicked"));
        assert_eq!(told.try_recv().unwrap(), "panicked");
        drop(ending("never began"));
        assert_eq!(told.try_recv().unwrap(), "never began");
        assert!(told.try_recv().is_err(), "once each");
    }
}
