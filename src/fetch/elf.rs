//! Whether a program runs on an architecture, by its ELF header (`elf(5)`). Pure.

use std::fmt;

use crate::arch::Arch;

/// How many bytes of a program [`check`] needs: the length of a 64-bit ELF header.
pub(super) const HEADER_BYTES: usize = 64;

// `e_machine` (elf.h).
const EM_386: u16 = 3;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

// `e_flags` of EM_ARM ("ELF for the Arm Architecture"): the float ABI in the procedure calls.
const EF_ARM_ABI_FLOAT_SOFT: u32 = 0x200;

/// What an ELF header says a program runs on.
#[derive(PartialEq)]
struct Machine {
    number: u16,
    bits: u8,
    big_endian: bool,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endian = if self.big_endian { ", big-endian" } else { "" };
        match (self.number, self.bits) {
            (EM_X86_64, 64) => write!(f, "amd64{endian}"),
            (EM_AARCH64, 64) => write!(f, "arm64{endian}"),
            (EM_ARM, 32) => write!(f, "32-bit ARM{endian}"),
            (EM_386, 32) => write!(f, "32-bit x86{endian}"),
            (number, bits) => write!(f, "ELF machine {number} ({bits}-bit{endian})"),
        }
    }
}

/// Whether a program that begins with these bytes runs on an architecture; an error says why not.
pub(super) fn check(start: &[u8], arch: Arch) -> Result<(), String> {
    let header = start.first_chunk::<HEADER_BYTES>();
    let header = header.filter(|header| header.starts_with(b"\x7fELF"));
    let header = header.ok_or("it is not a Linux program: no ELF header")?;
    let big_endian = header[5] == 2;
    let machine = Machine {
        number: u16::from_le_bytes(order([header[18], header[19]], big_endian)),
        bits: if header[4] == 2 { 64 } else { 32 },
        big_endian,
    };
    let (number, bits) = match arch {
        Arch::Amd64 => (EM_X86_64, 64),
        Arch::Arm64 => (EM_AARCH64, 64),
        Arch::Armhf => (EM_ARM, 32),
    };
    let expected = Machine {
        number,
        bits,
        big_endian: false,
    };
    if machine != expected {
        return Err(format!("it is a program for {machine}, not for {arch}"));
    }
    // Go's linker marks neither ABI in a static program, and such a program runs on both: only the
    // explicit mark of soft float is wrong.
    let flags = u32::from_le_bytes([header[36], header[37], header[38], header[39]]);
    if arch == Arch::Armhf && flags & EF_ARM_ABI_FLOAT_SOFT != 0 {
        return Err("it is built for soft-float ARM (armel), not for armhf".to_owned());
    }
    Ok(())
}

fn order(bytes: [u8; 2], big_endian: bool) -> [u8; 2] {
    if big_endian {
        [bytes[1], bytes[0]]
    } else {
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(machine: u16, class: u8, data: u8, flags: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER_BYTES];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = class;
        header[5] = data;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[36..40].copy_from_slice(&flags.to_le_bytes());
        header
    }

    #[test]
    fn a_program_for_the_architecture_passes() {
        for (arch, machine, class, flags) in [
            (Arch::Amd64, EM_X86_64, 2, 0),
            (Arch::Arm64, EM_AARCH64, 2, 0),
            (Arch::Armhf, EM_ARM, 1, 0x0500_0400),
            (Arch::Armhf, EM_ARM, 1, 0x0500_0000),
        ] {
            assert_eq!(check(&header(machine, class, 1, flags), arch), Ok(()));
        }
    }

    #[track_caller]
    fn refuse(start: &[u8], arch: Arch, message: &str) {
        assert_eq!(check(start, arch).unwrap_err(), message);
    }

    #[test]
    fn any_other_is_refused_by_what_it_is() {
        let arm64 = header(EM_AARCH64, 2, 1, 0);
        refuse(
            &arm64,
            Arch::Armhf,
            "it is a program for arm64, not for armhf",
        );
        refuse(
            &header(EM_ARM, 1, 1, 0x0500_0400),
            Arch::Arm64,
            "it is a program for 32-bit ARM, not for arm64",
        );
        refuse(
            &header(EM_ARM, 1, 1, 0x0500_0200),
            Arch::Armhf,
            "it is built for soft-float ARM (armel), not for armhf",
        );
        // x32: a 32-bit program on x86-64, which Debian's amd64 kernels do not run.
        refuse(
            &header(EM_X86_64, 1, 1, 0),
            Arch::Amd64,
            "it is a program for ELF machine 62 (32-bit), not for amd64",
        );
        refuse(
            &header(EM_AARCH64.swap_bytes(), 2, 2, 0),
            Arch::Arm64,
            "it is a program for arm64, big-endian, not for arm64",
        );
        let none = "it is not a Linux program: no ELF header";
        refuse(&arm64[..40], Arch::Arm64, none);
        refuse(b"#!/bin/sh\n", Arch::Arm64, none);
        refuse(b"", Arch::Amd64, none);
    }
}
