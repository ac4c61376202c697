//! A hop that holds every packet for a while: the kernel may lack netem.
//!
//! The isp sends what comes from and goes to the client into a TUN device; what comes out of it
//! takes the ordinary way. So it is one more hop.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Lab, Place};

/// Ends when dropped.
pub struct Delay {
    stop: Arc<AtomicBool>,
    packets: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// What leads into it; the routes go with the device.
pub const END: &str = "
rule del iif client lookup 77
rule del iif vps lookup 78
rule del iif net lookup 78
";

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TUNSETIFF: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<i32>(b'T', 202);
/// No link layer, no extra header.
const IFF_TUN_NO_PI: u16 = 0x1001;

impl Delay {
    pub fn start(lab: &Lab, each_way: u64) -> Result<Self, String> {
        let device = lab.on(Place::Isp, open).map_err(|error| format!("/dev/net/tun: {error}"))?;
        lab.site(Place::Isp).ip("link set delay up\n\
             rule add iif client lookup 77\n\
             rule add iif vps lookup 78\n\
             rule add iif net lookup 78\n\
             route add default dev delay table 77\n\
             route add 10.1.0.0/24 dev delay table 78\n")?;
        let stop = Arc::new(AtomicBool::new(false));
        let packets = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel::<(SystemTime, Vec<u8>)>();
        let mut output = device.try_clone().map_err(|error| error.to_string())?;
        let writer = std::thread::spawn(move || {
            while let Ok((due, packet)) = receiver.recv() {
                while let Ok(left) = due.duration_since(SystemTime::now()) {
                    std::thread::park_timeout(left);
                }
                // The other side of the device may be down.
                drop(output.write_all(&packet));
            }
        });
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&packets));
        let reader = std::thread::spawn(move || {
            let mut device = device;
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Ordering::SeqCst) {
                let limit = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                let mut ready = [PollFd::new(&device, PollFlags::IN)];
                if poll(&mut ready, Some(&limit)) != Ok(1) {
                    continue;
                }
                let Ok(length) = device.read(&mut buffer) else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let due = SystemTime::now() + Duration::from_millis(each_way);
                sender.send((due, buffer[..length].to_vec())).unwrap();
            }
        });
        Ok(Self { stop, packets, threads: vec![reader, writer] })
    }

    /// Packets so far.
    pub fn packets(&self) -> usize {
        self.packets.load(Ordering::SeqCst)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic was reported when it happened.
            drop(thread.join());
        }
    }
}

fn open() -> std::io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: IFF_TUN_NO_PI, rest: [0; 22] };
    request.name[..5].copy_from_slice(b"delay");
    // SAFETY: TUNSETIFF reads (and writes back) one `struct ifreq`, which `Request` is in size.
    #[allow(unsafe_code, reason = "the only way to make a TUN device of this process")]
    unsafe {
        let setter = rustix::ioctl::Updater::<{ TUNSETIFF }, Request>::new(&mut request);
        rustix::ioctl::ioctl(&device, setter)?;
    }
    Ok(device)
}
