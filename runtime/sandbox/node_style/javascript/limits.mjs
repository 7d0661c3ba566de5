// The numbers of runtime/limits.py that this guest keeps to by itself; a test compares the two pages.

export const BODY_CHUNK = 262144;
export const DIAGNOSTICS = 100;
export const HOST_FRAME = 50331648;
export const LOG_LINES = 256;
export const LOG_LINE_BYTES = 16384;
export const SYSCALLS_AT_ONCE = 64;
export const SYSCALLS_PER_CALL = 32768;
export const VALUE_BYTES = 8388608;
export const VALUE_DEPTH = 64;
export const VALUE_ITEMS = 262144;
