/*
 * One end of a conversation held by libotr, driven over stdin and stdout, for test/interop/otr.ts. Written against
 * libotr's public headers.
 *
 *   otr-harness DIRECTORY     keeps the private key and the instance tag there; both are made when missing
 *
 * Commands, one a line; every text is in hexadecimal. Each is answered by its events and then "done".
 *
 *   receive TEXT              a text came in
 *   query                     send a query message
 *   say TEXT                  send this, encrypted
 *   prove SECRET [QUESTION]   start the SMP
 *   answer SECRET             answer the SMP
 *   end                       end the conversation
 *   limit BYTES               longest text the transport takes
 *
 * Events:
 *
 *   ready FINGERPRINT TAG · send TEXT · secure FINGERPRINT · insecure · message TEXT · finished
 *   smp asked|succeeded|failed|aborted|cheated · error-code N · event N
 */

/* proto.h first: the others rely on it. */
#include <libotr/proto.h>
#include <libotr/tlv.h>
#include <libotr/userstate.h>

#include <libotr/instag.h>
#include <libotr/message.h>
#include <libotr/privkey.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT "harness"
#define PROTOCOL "test"
#define PEER "punchguard"
#define LONGEST_LINE 400000

static OtrlUserState state;
static OtrlMessageAppOps operations;
static ConnContext *smp_context;
static int longest_text = 0;
static char key_file[4096], tag_file[4096];

static void print_hex(const char *word, const unsigned char *bytes, size_t length) {
  printf("%s ", word);
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  putchar('\n');
}

static void print_text(const char *word, const char *text) {
  print_hex(word, (const unsigned char *)text, strlen(text));
}

/* The text of hexadecimal digits, ended by a NUL; the caller frees it. */
static char *from_hex(const char *hex, size_t *length) {
  *length = strlen(hex) / 2;
  char *text = malloc(*length + 1);
  if (text == NULL) abort();
  for (size_t i = 0; i < *length; i++) {
    unsigned int byte = 0;
    sscanf(hex + 2 * i, "%2x", &byte);
    text[i] = (char)byte;
  }
  text[*length] = '\0';
  return text;
}

static OtrlPolicy policy(void *data, ConnContext *context) {
  (void)data, (void)context;
  return OTRL_POLICY_ALLOW_V3 | OTRL_POLICY_REQUIRE_ENCRYPTION | OTRL_POLICY_ERROR_START_AKE;
}

static void create_privkey(void *data, const char *account, const char *protocol) {
  (void)data;
  otrl_privkey_generate(state, key_file, account, protocol);
}

static void create_instag(void *data, const char *account, const char *protocol) {
  (void)data;
  otrl_instag_generate(state, tag_file, account, protocol);
}

static int is_logged_in(void *data, const char *account, const char *protocol, const char *recipient) {
  (void)data, (void)account, (void)protocol, (void)recipient;
  return 1;
}

static void inject_message(void *data, const char *account, const char *protocol, const char *recipient,
                           const char *message) {
  (void)data, (void)account, (void)protocol, (void)recipient;
  print_text("send", message);
}

static void gone_secure(void *data, ConnContext *context) {
  (void)data;
  print_hex("secure", context->active_fingerprint->fingerprint, 20);
}

static void gone_insecure(void *data, ConnContext *context) {
  (void)data, (void)context;
  puts("insecure");
}

static void still_secure(void *data, ConnContext *context, int is_reply) {
  (void)is_reply;
  gone_secure(data, context);
}

static int max_message_size(void *data, ConnContext *context) {
  (void)data, (void)context;
  return longest_text;
}

static const char *otr_error_message(void *data, ConnContext *context, OtrlErrorCode code) {
  (void)data, (void)context;
  printf("error-code %d\n", (int)code);
  return strdup("harness");
}

static void otr_error_message_free(void *data, const char *message) {
  (void)data;
  free((char *)message);
}

static void handle_smp_event(void *data, OtrlSMPEvent event, ConnContext *context, unsigned short percent,
                             char *question) {
  (void)data, (void)percent, (void)question;
  smp_context = context;
  switch (event) {
    case OTRL_SMPEVENT_ASK_FOR_SECRET:
    case OTRL_SMPEVENT_ASK_FOR_ANSWER:
      puts("smp asked");
      break;
    case OTRL_SMPEVENT_SUCCESS:
      puts("smp succeeded");
      break;
    case OTRL_SMPEVENT_FAILURE:
      puts("smp failed");
      break;
    case OTRL_SMPEVENT_ABORT:
      puts("smp aborted");
      break;
    case OTRL_SMPEVENT_CHEATED:
    case OTRL_SMPEVENT_ERROR:
      puts("smp cheated");
      otrl_message_abort_smp(state, &operations, NULL, context);
      break;
    default:
      break;
  }
}

static void handle_msg_event(void *data, OtrlMessageEvent event, ConnContext *context, const char *message,
                             gcry_error_t error) {
  (void)data, (void)context, (void)message, (void)error;
  printf("event %d\n", (int)event);
}

static ConnContext *conversation(void) {
  return otrl_context_find(state, PEER, ACCOUNT, PROTOCOL, OTRL_INSTAG_BEST, 0, NULL, NULL, NULL);
}

static void receive(const char *text) {
  char *shown = NULL;
  OtrlTLV *tlvs = NULL;
  int internal = otrl_message_receiving(state, &operations, NULL, ACCOUNT, PROTOCOL, PEER, text, &shown, &tlvs, NULL,
                                        NULL, NULL);
  if (!internal) print_text("message", shown != NULL ? shown : text);
  if (otrl_tlv_find(tlvs, OTRL_TLV_DISCONNECTED) != NULL) puts("finished");
  otrl_tlv_free(tlvs);
  otrl_message_free(shown);
}

static void say(const char *text) {
  char *unused = NULL;
  gcry_error_t error = otrl_message_sending(state, &operations, NULL, ACCOUNT, PROTOCOL, PEER, OTRL_INSTAG_BEST, text,
                                            NULL, &unused, OTRL_FRAGMENT_SEND_ALL, NULL, NULL, NULL);
  if (error) puts("event -1");
  otrl_message_free(unused);
}

static void query(void) {
  char *text = otrl_proto_default_query_msg(ACCOUNT, policy(NULL, NULL));
  print_text("send", text);
  free(text);
}

static void prove(const char *secret_hex, const char *question_hex) {
  size_t length, question_length;
  char *secret = from_hex(secret_hex, &length);
  ConnContext *context = conversation();
  if (question_hex == NULL) {
    otrl_message_initiate_smp(state, &operations, NULL, context, (unsigned char *)secret, length);
  } else {
    char *question = from_hex(question_hex, &question_length);
    otrl_message_initiate_smp_q(state, &operations, NULL, context, question, (unsigned char *)secret, length);
    free(question);
  }
  free(secret);
}

static void answer(const char *secret_hex) {
  size_t length;
  char *secret = from_hex(secret_hex, &length);
  otrl_message_respond_smp(state, &operations, NULL, smp_context, (unsigned char *)secret, length);
  free(secret);
}

static void obey(const char *command, char *argument, char *second) {
  size_t length;
  if (strcmp(command, "receive") == 0 && argument != NULL) {
    char *text = from_hex(argument, &length);
    receive(text);
    free(text);
  } else if (strcmp(command, "say") == 0 && argument != NULL) {
    char *text = from_hex(argument, &length);
    say(text);
    free(text);
  } else if (strcmp(command, "query") == 0) {
    query();
  } else if (strcmp(command, "prove") == 0 && argument != NULL) {
    prove(argument, second);
  } else if (strcmp(command, "answer") == 0 && argument != NULL) {
    answer(argument);
  } else if (strcmp(command, "end") == 0) {
    otrl_message_disconnect_all_instances(state, &operations, NULL, ACCOUNT, PROTOCOL, PEER);
  } else if (strcmp(command, "limit") == 0 && argument != NULL) {
    longest_text = atoi(argument);
  } else {
    puts("unknown");
  }
}

int main(int count, char **arguments) {
  if (count != 2) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  OTRL_INIT;
  state = otrl_userstate_create();
  snprintf(key_file, sizeof key_file, "%s/key", arguments[1]);
  snprintf(tag_file, sizeof tag_file, "%s/tag", arguments[1]);

  operations.policy = policy;
  operations.create_privkey = create_privkey;
  operations.create_instag = create_instag;
  operations.is_logged_in = is_logged_in;
  operations.inject_message = inject_message;
  operations.gone_secure = gone_secure;
  operations.gone_insecure = gone_insecure;
  operations.still_secure = still_secure;
  operations.max_message_size = max_message_size;
  operations.otr_error_message = otr_error_message;
  operations.otr_error_message_free = otr_error_message_free;
  operations.handle_smp_event = handle_smp_event;
  operations.handle_msg_event = handle_msg_event;

  if (otrl_privkey_read(state, key_file)) create_privkey(NULL, ACCOUNT, PROTOCOL);
  if (otrl_instag_read(state, tag_file)) create_instag(NULL, ACCOUNT, PROTOCOL);
  if (otrl_instag_find(state, ACCOUNT, PROTOCOL) == NULL) create_instag(NULL, ACCOUNT, PROTOCOL);
  unsigned char fingerprint[20];
  if (otrl_privkey_fingerprint_raw(state, fingerprint, ACCOUNT, PROTOCOL) == NULL) return 1;
  printf("ready ");
  for (int i = 0; i < 20; i++) printf("%02x", fingerprint[i]);
  printf(" %u %s\n", otrl_instag_find(state, ACCOUNT, PROTOCOL)->instag, otrl_version());

  static char line[LONGEST_LINE];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *command = strtok(line, " \n");
    if (command == NULL) continue;
    char *argument = strtok(NULL, " \n");
    char *second = strtok(NULL, " \n");
    obey(command, argument, second);
    puts("done");
  }
  otrl_userstate_free(state);
  return 0;
}
