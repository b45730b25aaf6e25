/**
 * The public servers a device with no configuration starts from. None of them is trusted with more than being reached:
 * a bootstrap node learns our address, a STUN server too, and either can be replaced in config.toml.
 */

import type { BootstrapNode, HostPort } from './servers.ts'

/**
 * Tox bootstrap nodes over IPv4 that the public list (https://nodes.tox.chat) showed as reachable over UDP and TCP on
 * 2026-08-31, and three more that other clients' lists of 2026 agree on (the last three).
 */
export const publicBootstrapNodes: readonly BootstrapNode[] = [
  node('144.217.167.73', 33445, [33445, 3389], '7E5668E0EE09E19F320AD47902419331FFEE147BB3606769CFBE921A2A2FD34C'),
  node('205.185.115.131', 53, [3389, 33445, 443], '3091C6BEB2A993F1C6300C16549FABA67098FF3D62C6D253828B531470B53D68'),
  node('3.0.24.15', 33445, [33445], 'E20ABCF38CDBFFD7D04B29C956B33F7B27A3BB7AF0618101617B036E4AEA402D'),
  node('139.162.110.188', 33445, [443, 33445], 'F76A11284547163889DDC89A7738CF271797BF5E5E220643E97AD3C7E7903D55'),
  node('144.172.88.203', 33445, [33445, 443], '2016A0F2797EE3A8B004BA623F11AAFC8146F1B8F45107232A1A1AECCE856674'),
  node('172.104.215.182', 33445, [443, 33445], 'DA2BD927E01CD05EBCC2574EBE5BEBB10FF59AE0B2105A7D1E2B40E49BB20239'),
  node('188.214.122.30', 33445, [3389, 33445], '2A9F7A620581D5D1B09B004624559211C5ED3D1D712E8066ACDB0896A7335705'),
  node('43.198.227.166', 33445, [3389, 33445], 'AD13AB0D434BCE6C83FE2649237183964AE3341D0AFB3BE1694B18505E4E135E'),
  node('95.181.230.108', 33445, [3389, 33445], 'B5FFECB4E4C26409EBB88DB35793E7B39BFA3BA12AC04C096950CB842E3E130A'),
  node('188.245.84.166', 33445, [443, 33445], '96B66D300BA2B59B98FC42DB1325E7092388F0379593E680ABDBEA03B9C9CE03'),
  node('86.107.187.54', 33445, [33445, 3389], '2C0F90965134C7BEFAFE72B077A19221628D7045BB51C1165A2C75CDB2B32634'),
  node('172.86.77.39', 33445, [443, 33445], 'AFFD3FAD3460E62A894E439534B27E5A5DCFE379C1C0FB78DEF1B150A87E900F'),
  node('119.59.101.63', 33445, [33445], '197F746696062FA3BD07BB3BC0656ABD6692B4DAA27DACF0F474754F2B09B060'),
]

/** Public STUN servers of five different operators (RFC 8489, no credentials). */
export const publicStunServers: readonly HostPort[] = [
  { host: 'stun.cloudflare.com', port: 3478 },
  { host: 'stun.l.google.com', port: 19302 },
  { host: 'stun.nextcloud.com', port: 3478 },
  { host: 'global.stun.twilio.com', port: 3478 },
  { host: 'stun.sipgate.net', port: 3478 },
]

function node(host: string, udp: number, tcp: readonly number[], key: string): BootstrapNode {
  return { host, udp, tcp, key: new Uint8Array(Buffer.from(key, 'hex')) }
}
