/* In place of wintun.dll, which needs a driver that Wine has not: the functions that net/tun/wintun.ts calls, over two
 * lists in memory. Who pings anything through it is answered; the rest is thrown away. Its adapter is Wine's `lo`. */

#include <windows.h>
#include <stddef.h>

#define EXPORT __declspec(dllexport)

struct packet {
  struct packet *next;
  DWORD size;
  BYTE data[65535];
};

static void *const adapter = (void *)0x1000, *const session = (void *)0x2000;
static const DWORD expected_capacity = 4 * 1024 * 1024;
static struct packet *first, *last;
static CRITICAL_SECTION lock;
static HANDLE not_empty;

static struct packet *packet_of(const BYTE *data) { return (struct packet *)(data - offsetof(struct packet, data)); }

static void *fail(DWORD error) {
  SetLastError(error);
  return NULL;
}

EXPORT void *WINAPI WintunCreateAdapter(const WCHAR *name, const WCHAR *type, const GUID *guid) {
  if (lstrcmpW(name, L"lo") != 0 || lstrcmpW(type, L"PunchGuard") != 0 || guid->Data1 == 0)
    return fail(ERROR_INVALID_PARAMETER);
  InitializeCriticalSection(&lock);
  return adapter;
}

EXPORT void WINAPI WintunCloseAdapter(void *closed) { DeleteCriticalSection(&lock); }

/* Interface type 24, index 1. */
EXPORT void WINAPI WintunGetAdapterLUID(void *of, ULONG64 *luid) { *luid = 0x0018000001000000ull; }

EXPORT void *WINAPI WintunStartSession(void *on, DWORD capacity) {
  if (on != adapter || capacity != expected_capacity) return fail(ERROR_INVALID_PARAMETER);
  not_empty = CreateEventW(NULL, FALSE, FALSE, NULL);
  return session;
}

EXPORT void WINAPI WintunEndSession(void *ended) {
  CloseHandle(not_empty);
  while (first != NULL) {
    struct packet *packet = first;
    first = packet->next;
    HeapFree(GetProcessHeap(), 0, packet);
  }
  last = NULL;
}

EXPORT HANDLE WINAPI WintunGetReadWaitEvent(void *of) { return not_empty; }

EXPORT BYTE *WINAPI WintunReceivePacket(void *from, DWORD *size) {
  EnterCriticalSection(&lock);
  struct packet *packet = first;
  if (packet != NULL) first = packet->next;
  if (first == NULL) last = NULL;
  LeaveCriticalSection(&lock);
  if (packet == NULL) return fail(ERROR_NO_MORE_ITEMS);
  *size = packet->size;
  return packet->data;
}

EXPORT void WINAPI WintunReleaseReceivePacket(void *of, const BYTE *data) {
  HeapFree(GetProcessHeap(), 0, packet_of(data));
}

EXPORT BYTE *WINAPI WintunAllocateSendPacket(void *on, DWORD size) {
  struct packet *packet = HeapAlloc(GetProcessHeap(), 0, sizeof *packet);
  if (packet == NULL) return fail(ERROR_BUFFER_OVERFLOW);
  packet->next = NULL;
  packet->size = size;
  return packet->data;
}

/* Turns an echo request into its reply (RFC 792): the addresses change places, and the checksum grows by what the type
 * shrinks. */
static BOOL answer(BYTE *ip, DWORD size) {
  DWORD header = (ip[0] & 15) * 4;
  if (ip[0] >> 4 != 4 || ip[9] != 1 || size < header + 8 || ip[header] != 8) return FALSE;
  for (int at = 12; at < 16; at++) {
    BYTE source = ip[at];
    ip[at] = ip[at + 4];
    ip[at + 4] = source;
  }
  ip[header] = 0;
  DWORD sum = (ip[header + 2] << 8 | ip[header + 3]) + 0x0800;
  sum = (sum & 0xffff) + (sum >> 16);
  ip[header + 2] = sum >> 8;
  ip[header + 3] = sum;
  return TRUE;
}

/* As the driver does: on a thread that is not the caller's. */
static DWORD WINAPI deliver(void *argument) {
  struct packet *packet = argument;
  EnterCriticalSection(&lock);
  if (last == NULL) first = packet;
  else last->next = packet;
  last = packet;
  LeaveCriticalSection(&lock);
  SetEvent(not_empty);
  return 0;
}

EXPORT void WINAPI WintunSendPacket(void *on, const BYTE *data) {
  struct packet *packet = packet_of(data);
  if (answer(packet->data, packet->size)) CloseHandle(CreateThread(NULL, 0, deliver, packet, 0, NULL));
  else HeapFree(GetProcessHeap(), 0, packet);
}
