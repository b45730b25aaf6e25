/* In place of netsh, which Wine has only by name: writes its arguments down, a line a call, in the file that
 * PUNCHGUARD_NETSH_LOG names, and knows one interface and one route. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
  FILE *log = fopen(getenv("PUNCHGUARD_NETSH_LOG"), "a");
  if (log == NULL) return 1;
  for (int at = 1; at < count; at++) fprintf(log, at > 1 ? " [%s]" : "[%s]", arguments[at]);
  fprintf(log, "\n");
  fclose(log);
  const char *last = arguments[count - 1];
  if (strcmp(last, "interfaces") == 0) {
    puts("Idx     Met         MTU          State                Name");
    puts("---  ----------  ----------  ------------  ---------------------------");
    puts("  1           5       65535  connected     lo");
  }
  if (strcmp(last, "route") == 0) puts("No       System    256  192.168.1.0/24              4  Ethernet 2");
  return 0;
}
