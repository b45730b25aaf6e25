/** A router in a namespace of its own with the kernel's NAT (nftables masquerade), for --nat linux. */

import { PunchGuardError } from '../src/api/errors.ts'
import { describeSiteKind, type SiteKind } from './model/kinds.ts'
import { Namespace, uplink } from './namespace.ts'
import { runProgram, tryProgram } from './program.ts'
import type { SitePlan } from './topology.ts'

const lan = 'lan0'

export class KernelRouter {
  /** Its uplink is still to be plugged. */
  readonly namespace: Namespace

  private constructor(namespace: Namespace) {
    this.namespace = namespace
  }

  /** Joins the device's namespace to a router. @throws PunchGuardError USAGE, GUARD_UNAVAILABLE */
  static make({
    plan,
    kind,
    inside,
  }: {
    readonly plan: SitePlan
    readonly kind: SiteKind
    readonly inside: Namespace
  }): KernelRouter {
    const rules = kernelNatRules(kind)
    if (rules === undefined) {
      throw new PunchGuardError('USAGE', `the kernel has no NAT with ${describeSiteKind(kind)}`, {
        hint: 'with --nat linux, choose eim-apdf, apdm-apdf-random or public; the others need --nat model',
      })
    }
    if (tryProgram(['nft', '--version']).status !== 0) {
      throw new PunchGuardError('GUARD_UNAVAILABLE', '--nat linux needs the program nft, which is not installed', {
        hint: 'install it, for example with: sudo apt install nftables; or leave --nat out',
      })
    }
    const namespace = Namespace.make(`router-${plan.name}`)
    const gateway = plan.lanAddress.replace(/\d+$/, '1')
    namespace.configure([
      `link add dev ${lan} type veth peer name ${uplink} netns ${inside.name}`,
      `link set dev ${lan} addrgenmode none up`,
      `addr add ${gateway}/24 dev ${lan}`,
    ])
    inside.configure([
      `link set dev ${uplink} addrgenmode none up`,
      `addr add ${plan.lanAddress}/24 dev ${uplink}`,
      `route add default via ${gateway}`,
    ])
    runProgram(namespace.command(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']))
    runProgram(namespace.command(['nft', '-f', '-']), { input: rules })
    return new KernelRouter(namespace)
  }
}

/**
 * What masquerade does: a mapping that is reused for every destination as long as the port is free, filtered by the
 * connection's both ends. `undefined` for what it cannot do. The router itself takes nothing from outside: an answer of
 * its own would occupy the port that the device's packet is about to be mapped to.
 */
export function kernelNatRules(kind: SiteKind): string | undefined {
  if (kind.kind === 'none') return undefined
  const { mapping, filtering, portAllocation } = kind
  if (filtering !== 'address-and-port-dependent') return undefined
  const preserving = mapping === 'endpoint-independent' && portAllocation === 'preserving'
  const random = mapping === 'address-and-port-dependent' && portAllocation === 'random'
  if (!preserving && !random) return undefined
  return `table ip lab {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname "${uplink}" masquerade${random ? ' fully-random' : ''}
  }
  chain own {
    type filter hook input priority filter;
    iifname "${uplink}" drop
  }
}
`
}
