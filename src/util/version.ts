/** The version of this program; package.json says the same (tested). */
export const version: string = '0.1.0'
