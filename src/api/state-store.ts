/**
 * Where a device keeps what must survive a restart. One JSON value per name; a write replaces the old value whole or
 * not at all. Values hold secret keys: an implementation keeps them where only their owner reads them (mode 0600).
 */

export interface StateStore {
  /** `undefined` when nothing was written yet. @throws PunchGuardError STATE_DAMAGED, PERMISSION_DENIED */
  read(name: string): Promise<unknown>
  /** @throws PunchGuardError STATE_UNWRITABLE */
  write(name: string, value: unknown): Promise<void>
  remove(name: string): Promise<void>
}
