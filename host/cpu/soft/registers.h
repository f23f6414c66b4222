/* SPDX-License-Identifier: MIT */
/*
 * Bits of the processor's registers and descriptors, with the names of the SDM: RFLAGS (1, 3.4.3),
 * control registers and EFER (3A, 2.5, 2.2.1), vectors (6.3.1), segment registers and rights
 * (3.4.5), types of system descriptors (table 3-2).
 */
#ifndef CPU_SOFT_REGISTERS_H
#define CPU_SOFT_REGISTERS_H

/* flags */
#define F_CF	     0x0001u
#define F_PF	     0x0004u
#define F_AF	     0x0010u
#define F_ZF	     0x0040u
#define F_SF	     0x0080u
#define F_TF	     0x0100u
#define F_IF	     0x0200u
#define F_DF	     0x0400u
#define F_OF	     0x0800u
#define F_IOPL	     0x3000u
#define F_NT	     0x4000u
#define F_RF	     0x10000u
#define F_VM	     0x20000u
#define F_AC	     0x40000u
#define F_VIF	     0x80000u
#define F_VIP	     0x100000u
#define F_ID	     0x200000u
#define F_ARITHMETIC (F_CF | F_PF | F_AF | F_ZF | F_SF | F_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME	       (1u << 0)
#define CR4_PVI	       (1u << 1)
#define CR4_TSD	       (1u << 2)
#define CR4_DE	       (1u << 3)
#define CR4_PSE	       (1u << 4)
#define CR4_PAE	       (1u << 5)
#define CR4_MCE	       (1u << 6)
#define CR4_PGE	       (1u << 7)
#define CR4_PCE	       (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_PCIDE      (1u << 17)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)

#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

enum vector {
	V_DE,
	V_DB,
	V_NMI,
	V_BP,
	V_OF,
	V_BR,
	V_UD,
	V_NM,
	V_DF,
	V_TS = 10,
	V_NP,
	V_SS,
	V_GP,
	V_PF,
	V_MF = 16,
	V_AC,
	V_MC,
	V_XM,
};
#define NO_ERROR_CODE (-1)

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEGMENTS };
#define SEG_NONE 0xff

/* rights */
#define R_ACCESSED (1u << 0)
#define R_WRITE	   (1u << 1) /* data: writable; code: readable */
#define R_DOWN	   (1u << 2) /* data: expand-down; code: conforming */
#define R_CODE	   (1u << 3)
#define R_TYPE	   0xfu
#define R_S	   (1u << 4) /* code or data, not system */
#define R_DPL(r)   ((r) >> 5 & 3)
#define R_PRESENT  (1u << 7)
#define R_L	   (1u << 13)
#define R_D	   (1u << 14)
#define R_G	   (1u << 15)

/* Types of system descriptors (SDM 3A, table 3-2) */
#define TYPE_TSS16_AVAILABLE 0x1
#define TYPE_LDT	     0x2
#define TYPE_TSS16_BUSY	     0x3
#define TYPE_CALL16	     0x4
#define TYPE_TASK_GATE	     0x5
#define TYPE_TSS32_AVAILABLE 0x9
#define TYPE_TSS32_BUSY	     0xb
#define TYPE_CALL32	     0xc

#endif
