/* SPDX-License-Identifier: MIT */
/*
 * One row an option, in the order and the sections of the help.  What QEMU accepts and what changes
 * nothing that a guest sees here is accepted (take_nothing, take_only); what asks for something
 * that is not there is refused with one line (take_refused).  To add an option: a row, and a
 * handler if none here fits.
 */
#include <stddef.h>

#include "options/internal.h"

#define FIELD(member) offsetof(struct options, member)

/* Row makers: name, then help. */
#define ROW(option, handler, text)                                                  \
	{                                                                           \
		.name = option, .has_argument = true, .take = handler, .help = text \
	}
#define FLAG(option, member, text)                                                       \
	{                                                                                \
		.name = option, .take = take_flag, .help = text, .offset = FIELD(member) \
	}
#define STRING(option, member, text)                                                     \
	{                                                                                \
		.name = option, .has_argument = true, .take = take_string, .help = text, \
		.offset = FIELD(member)                                                  \
	}
#define NOTHING(option, argument)                                              \
	{                                                                      \
		.name = option, .has_argument = argument, .take = take_nothing \
	}
#define ONLY(option, words, text)                                                      \
	{                                                                              \
		.name = option, .has_argument = true, .take = take_only, .help = text, \
		.note = words                                                          \
	}
#define REFUSED(option, argument, instead)                                                      \
	{                                                                                       \
		.name = option, .has_argument = argument, .take = take_refused, .note = instead \
	}
#define DISK(option, text)                                                             \
	{                                                                              \
		.name = option, .has_argument = true, .take = take_disk, .help = text, \
		.note = "-" option                                                     \
	}
#define MONITOR(option, text)                                                             \
	{                                                                                 \
		.name = option, .has_argument = true, .take = take_monitor, .help = text, \
		.note = "-" option                                                        \
	}

const struct option_row option_rows[] = {
	OPTION_SECTION("Standard options:"),
	{.name = "h", .take = take_help, .help = "-h or -help     print this text and end\n"},
	{.name = "help", .take = take_help},
	{.name = "version",
		.take = take_version,
		.help = "-version        print the version and end\n"},
	ROW("machine", take_machine,
		"-machine [type=]name[,prop[=value][,...]]\n"
		"                the machine ('-machine help' lists them)\n"
		"                property accel=accel1[:accel2[:...]] takes the first that works\n"
		"                (kvm; default: kvm)\n"
		"                acpi=on|off|auto tells the guest by ACPI tables what there is\n"
		"                kernel-irqchip=on, mem-merge=, dump-guest-core=: accepted\n"),
	ROW("M", take_machine, NULL),
	ROW("cpu", take_cpu,
		"-cpu cpu        the processor's model and features ('-cpu help' lists them)\n"),
	ROW("accel", take_accel,
		"-accel [accel=]accelerator[,prop[=value][,...]]\n"
		"                what runs the guest ('-accel help' lists them); given several "
		"times,\n"
		"                the first that works\n"
		"                soft: seed=N varies turns of vCPUs and times of I/O,\n"
		"                clock=host|virtual is what the machine's time follows\n"),
	ROW("icount", take_icount,
		"-icount [shift=N|auto][,sleep=on|off][,rr=record|replay,rrfile=file]\n"
		"                each instruction takes 2^N ns of virtual time (soft; auto: 3); "
		"idle\n"
		"                time passes at the host's pace with sleep=on, else at once;\n"
		"                rr: what comes from outside goes to the file, or comes from it\n"),
	ROW("smp", take_smp,
		"-smp [[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,dies=dies][,cores=cores]"
		"[,threads=threads]\n"
		"                number of processors [default=1]\n"),
	REFUSED("numa", true, "there is one node of memory"),
	REFUSED("add-fd", true, "descriptor sets are not supported; -chardev socket takes fd="),
	REFUSED("set", true, "not supported: write the property where the object is made"),
	ROW("global", take_global,
		"-global driver.property=value\n"
		"-global driver=driver,property=property,value=value\n"
		"                a property's value for each device of that type made later\n"),
	ROW("boot", take_boot,
		"-boot [order=drives][,once=drives][,menu=on|off]\n"
		"                'drives': floppy (a), hard disk (c), CD-ROM (d), network (n)\n"),
	ROW("m", take_memory,
		"-m [size=]megs[,slots=n,maxmem=size]\n"
		"                the guest's memory, in MiB or with a suffix (k, M, G, T)\n"),
	NOTHING("mem-path", true),
	NOTHING("mem-prealloc", false),
	NOTHING("k", true),
	NOTHING("audio-help", false),
	{.name = "audiodev", .has_argument = true, .take = take_audiodev, .note = "none"},
	{.name = "audio", .has_argument = true, .take = take_audiodev, .note = "none"},
	ROW("device", take_device,
		"-device driver[,prop[=value][,...]]\n"
		"                add a device; prop=value sets its properties\n"
		"                '-device help' lists the drivers\n"
		"                '-device driver,help' lists the properties of one\n"),
	ROW("name", take_name,
		"-name string1[,process=string2][,debug-threads=on|off]\n"
		"                the guest's name, and the process's\n"),
	ROW("uuid", take_uuid,
		"-uuid %08x-%04x-%04x-%04x-%012x\n"
		"                the machine's UUID\n"),

	OPTION_SECTION("Block device options:"),
	REFUSED("fda", true, "there is no floppy drive; use -hda or -drive"),
	REFUSED("fdb", true, "there is no floppy drive; use -hda or -drive"),
	DISK("hda", "-hda/-hdb file  use 'file' as hard disk 0/1 image\n"),
	DISK("hdb", NULL),
	DISK("hdc", "-hdc/-hdd file  use 'file' as hard disk 2/3 image\n"),
	DISK("hdd", NULL),
	ROW("cdrom", take_cdrom, "-cdrom file     use 'file' as CD-ROM image\n"),
	ROW("blockdev", take_blockdev,
		"-blockdev [driver=]driver[,node-name=N][,read-only=on|off][,cache.direct=on|off]\n"
		"          [,cache.no-flush=on|off][,discard=ignore|unmap][,driver's "
		"parameters...]\n"
		"                a node of the block layer, for a device's drive=\n"),
	ROW("drive", take_drive,
		"-drive [file=file][,if=type][,bus=n][,unit=m][,media=d][,index=i][,format=f]\n"
		"       [,cache=writethrough|writeback|none|directsync|unsafe][,snapshot=on|off]\n"
		"       [,aio=threads|native|io_uring][,readonly=on|off][,id=name]\n"
		"       [,discard=ignore|unmap][,detect-zeroes=on|off|unmap]\n"
		"                use 'file' as a drive image\n"),
	REFUSED("mtdblock", true, "there is no such flash memory; use -drive"),
	REFUSED("sd", true, "there is no SD card reader; use -drive"),
	REFUSED("pflash", true, "there is no parallel flash; use -kernel"),
	FLAG("snapshot", board.snapshot,
		"-snapshot       write to temporary files instead of the images\n"),
	REFUSED("fsdev", true, "shared folders are not supported"),
	REFUSED("virtfs", true, "shared folders are not supported"),
	REFUSED("iscsi", true, "iSCSI is not supported; use a raw image on a file or block device"),

	OPTION_SECTION("USB convenience options:"),
	REFUSED("usb", false, "there is no USB controller"),
	REFUSED("usbdevice", true, "there is no USB controller"),

	OPTION_SECTION("Display options:"),
	ONLY("display", "none|vnc=none",
		"-display none   there is no display; this is the default\n"),
	FLAG("nographic", nographic,
		"-nographic      serial port and monitor on the terminal (Ctrl-A h for help)\n"),
	ONLY("vga", "none", "-vga none       there is no graphics card\n"),
	ONLY("vnc", "none", "-vnc none       there is no display\n"),
	REFUSED("spice", true, "there is no display; use -display none"),
	NOTHING("full-screen", false),
	REFUSED("portrait", false, "there is no display"),
	REFUSED("rotate", true, "there is no display"),

	OPTION_SECTION("i386 target only:"),
	NOTHING("win2k-hack", false),
	NOTHING("no-fd-bootchk", false),
	FLAG("no-acpi", board.no_acpi, "-no-acpi        no ACPI tables\n"),
	NOTHING("no-hpet", false),
	REFUSED("acpitable", true, "the ACPI tables are fixed"),
	REFUSED("smbios", true, "there are no SMBIOS tables"),

	OPTION_SECTION("Network options:"),
	REFUSED("netdev", true, "networking is not there yet"),
	ONLY("nic", "none", "-nic none       there is no network yet\n"),
	ONLY("net", "none", "-net none       there is no network yet\n"),

	OPTION_SECTION("Character device options:"),
	ROW("chardev", take_chardev,
		"-chardev help\n"
		"-chardev null,id=id[,mux=on|off][,logfile=PATH][,logappend=on|off]\n"
		"-chardev socket,id=id[,host=host],port=port[,server=on|off][,wait=on|off]\n"
		"         [,nodelay=on|off][,reconnect=seconds][,mux=on|off] (tcp)\n"
		"-chardev "
		"socket,id=id,path=path[,server=on|off][,wait=on|off][,reconnect=seconds]\n"
		"         [,abstract=on|off][,mux=on|off] (unix)\n"
		"-chardev socket,id=id,fd=descriptor[,mux=on|off]\n"
		"-chardev ringbuf,id=id[,size=size]\n"
		"-chardev file,id=id,path=path[,append=on|off][,mux=on|off]\n"
		"-chardev pipe,id=id,path=path[,mux=on|off]\n"
		"-chardev pty,id=id[,mux=on|off]\n"
		"-chardev stdio,id=id[,mux=on|off][,signal=on|off]\n"
		"-chardev serial,id=id,path=path[,mux=on|off]\n"),
	REFUSED("tpmdev", true, "there is no TPM"),

	OPTION_SECTION("Boot Image or Kernel specific:"),
	ROW("bios", take_bios, "-bios file      firmware to start with (no effect with -kernel)\n"),
	STRING("kernel", board.kernel,
		"-kernel file    boot 'file': a 64-bit ELF with a PVH note, or a multiboot "
		"image\n"),
	STRING("append", board.append, "-append cmdline the kernel's command line\n"),
	STRING("initrd", board.initrd,
		"-initrd file    initial RAM disk; for multiboot, modules: file1 args,file2\n"),
	STRING("dtb", dtb, "-dtb file       accepted with -kernel\n"),

	OPTION_SECTION("Debug/Expert options:"),
	NOTHING("compat", true),
	ROW("fw_cfg", take_fw_cfg,
		"-fw_cfg [name=]<name>,file=<file>\n"
		"-fw_cfg [name=]<name>,string=<str>\n"
		"                a named item of the firmware configuration device\n"),
	ROW("serial", take_serial,
		"-serial dev     the serial port: stdio, mon:stdio, file:PATH, null, none, pty,\n"
		"                unix:PATH[,server=on][,wait=off], tcp:HOST:PORT[,...],\n"
		"                chardev:ID\n"),
	ONLY("parallel", "none|null", "-parallel none  there is no parallel port\n"),
	MONITOR("monitor", "-monitor dev    the monitor, as -serial\n"),
	MONITOR("qmp", "-qmp dev        the monitor's protocol for programs, as -serial\n"),
	MONITOR("qmp-pretty", "-qmp-pretty dev the same, with JSON for people\n"),
	ROW("mon", take_mon, "-mon [chardev=]name[,mode=readline|control][,pretty[=on|off]]\n"),
	REFUSED("debugcon", true, "there is no debug console; use -serial"),
	STRING("pidfile", pidfile, "-pidfile file   write the process's id to 'file'\n"),
	NOTHING("singlestep", false),
	REFUSED("preconfig", false, "not supported; use -S"),
	FLAG("S", board.start_paused, "-S              do not start the processor (use 'c' to)\n"),
	NOTHING("overcommit", true),
	STRING("gdb", gdb,
		"-gdb dev        wait for gdb there: tcp:HOST:PORT, unix:PATH, as -serial\n"),
	{.name = "s",
		.take = take_gdb_short,
		.help = "-s              the same as -gdb tcp::1234\n"},
	ROW("d", take_debug, "-d item1,...    log what the items name ('-d help' lists them)\n"),
	STRING("D", log_file, "-D logfile      where -d writes [default: stderr]\n"),
	NOTHING("dfilter", true),
	ROW("seed", take_seed, "-seed number    seed of the machine's random numbers\n"),
	STRING("L", board.firmware_path, "-L path         where firmware is looked for\n"),
	{.name = "enable-kvm",
		.take = take_enable_kvm,
		.help = "-enable-kvm     the same as -accel kvm\n"},
	REFUSED("xen-domid", true, "Xen is not supported"),
	REFUSED("xen-attach", false, "Xen is not supported"),
	REFUSED("xen-domid-restrict", false, "Xen is not supported"),
	FLAG("no-reboot", board.no_reboot, "-no-reboot      end instead of rebooting\n"),
	FLAG("no-shutdown", board.no_shutdown, "-no-shutdown    stop instead of ending\n"),
	ROW("action", take_action,
		"-action reboot=reset|shutdown\n"
		"-action shutdown=poweroff|pause\n"
		"                what a reboot and a shutdown of the guest do\n"),
	REFUSED("loadvm", true, "saved states are not there yet"),
	FLAG("daemonize", daemonize,
		"-daemonize      go to the background when the machine stands\n"),
	REFUSED("option-rom", true, "option ROMs are not run"),
	ROW("rtc", take_rtc,
		"-rtc [base=utc|localtime|<datetime>][,clock=host|rt|vm][,driftfix=none|slew]\n"
		"                the clock's start\n"),
	NOTHING("watchdog-action", true),
	ROW("echr", take_echr, "-echr chr       the terminal's escape key instead of Ctrl-A\n"),
	STRING("incoming", incoming,
		"-incoming file:PATH  go on from a state that 'migrate' saved\n"
		"-incoming defer      wait for the monitor's migrate-incoming\n"),
	NOTHING("only-migratable", false),
	FLAG("nodefaults", board.no_defaults,
		"-nodefaults     no devices that were not asked for\n"),
	REFUSED("chroot", true, "not supported; start assay in the chroot"),
	REFUSED("runas", true, "not supported; start assay as that user"),
	ONLY("sandbox", "off", "-sandbox off    system calls are not filtered\n"),
	REFUSED("readconfig", true, "not supported; write the options on the command line"),
	NOTHING("no-user-config", false),
	REFUSED("trace", true, "not supported; see -d help"),
	REFUSED("plugin", true, "there are no plugins"),
	NOTHING("async-teardown", false),
	ROW("msg", take_msg, "-msg [timestamp[=on|off]][,guest-name=[on|off]]\n"),
	REFUSED("dump-vmstate", true, "saved states are not there yet"),
	NOTHING("enable-sync-profile", false),
	NOTHING("tb-size", true),

	OPTION_SECTION("Generic object creation:"),
	ROW("object", take_object,
		"-object TYPENAME[,PROP1=VALUE1,...]\n"
		"                an object by type and id ('-object help' lists the types):\n"
		"                iothread,id=id is a loop for the queues of block devices\n"),
};
const unsigned option_row_count = sizeof(option_rows) / sizeof(option_rows[0]);
