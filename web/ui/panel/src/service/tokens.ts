/** The page's token: asked for once, and again before it expires or when it was refused. */

/** Milliseconds before its end at which a token is replaced. */
const EARLY = 60_000;

interface Claims {
  account?: string;
  sub?: string;
  exp?: number;
}

export class Tokens {
  private asked: Promise<string> | null = null;
  private token: string | null = null;

  /** `ask`: the page's function; without one the browser's cookie serves. */
  constructor(private readonly ask: (() => string | Promise<string>) | null = null) {}

  /** A token that counts for a while; null where there are none. Throws what the page's function throws. */
  async get(): Promise<string | null> {
    if (!this.ask) return null;
    if (this.token && !this.isEnding()) return this.token;
    this.asked ??= Promise.resolve(this.ask()).finally(() => {
      this.asked = null;
    });
    this.token = await this.asked;
    return this.token;
  }

  /** Note that the server has refused the token. Whether there may be another one. */
  refused(): boolean {
    this.token = null;
    return this.ask !== null;
  }

  /** Milliseconds until the token should be replaced; null where nobody knows. */
  get remaining(): number | null {
    const end = this.token && claimsOf(this.token).exp;
    return end ? end * 1000 - EARLY - Date.now() : null;
  }

  /** Whom the token stands for; null where it does not say. */
  async owner(): Promise<string | null> {
    const { account, sub } = claimsOf((await this.get()) ?? '');
    return sub ? `${account ?? ''} ${sub}` : null;
  }

  private isEnding(): boolean {
    return this.remaining !== null && this.remaining <= 0;
  }
}

/** What a JSON Web Token says; nothing of a token of another kind. */
function claimsOf(token: string): Claims {
  try {
    const payload = (token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Claims;
  } catch {
    return {};
  }
}
