import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** What the clients in Java share: workers, a count, and what a right answer is. */
final class Common {
    static final String URL = System.getenv("URL");
    static final byte[] BODY = filled('b', 1000);
    static final String GET = URL + System.getenv("GET");
    static final byte[] XS = filled('x', number("LENGTH"));
    static final String POST = URL + System.getenv("POST");

    private static final boolean POSTS = !System.getenv("POST").isEmpty();
    private static final double UNTIL = Double.parseDouble(System.getenv("UNTIL"));
    private static final List<String> failed = new ArrayList<>();
    private static int requests;

    /** Null, or what is wrong with the answer. */
    interface Exchange {
        String make(boolean post) throws Exception;
    }

    static String judge(boolean post, int status, byte[] got) {
        boolean right = status == 200 && Arrays.equals(got, post ? BODY : XS);
        return right ? null : status + ", " + got.length + " bytes";
    }

    /** Trusts the CA, and has no other setting. */
    static SSLContext trusting() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = new FileInputStream(System.getenv("CA"))) {
            var certificate = CertificateFactory.getInstance("X.509").generateCertificate(in);
            store.setCertificateEntry("ca", certificate);
        }
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    static void run(String version, Supplier<Exchange> pool) throws Exception {
        List<Thread> workers = new ArrayList<>();
        for (int p = 0; p < number("POOLS"); p++) {
            Exchange exchange = pool.get();
            for (int w = 0; w < number("PER_POOL"); w++) {
                Thread worker = new Thread(() -> work(exchange));
                worker.start();
                workers.add(worker);
            }
        }
        for (Thread worker : workers) {
            worker.join(Math.max(1, (long) (1000 * (UNTIL + 30 - now()))));
            if (worker.isAlive()) {
                count("a worker", now(), "hangs, and has no answer after 30 s");
            }
        }
        System.out.println("{\"version\": " + quoted(version) + ", \"requests\": " + requests
                + ", \"failed\": [" + String.join(", ", failed) + "]}");
        System.exit(0);
    }

    private static void work(Exchange exchange) {
        var random = ThreadLocalRandom.current();
        boolean post = POSTS && random.nextBoolean();
        do {
            sleep(random.nextInt(number("IDLE_FROM_MS"), number("IDLE_MS") + 1));
            double begun = now();
            String error;
            try {
                error = exchange.make(post);
            } catch (Exception exception) {
                error = shown(exception);
            }
            count(post ? "POST" : "GET", begun, error);
            post = POSTS && !post;
        } while (now() < UNTIL);
    }

    private static synchronized void count(String method, double begun, String error) {
        requests++;
        if (error != null) {
            failed.add("{\"begun\": " + begun + ", \"at\": " + now() + ", \"method\": "
                    + quoted(method) + ", \"error\": " + quoted(error) + "}");
        }
    }

    private static String shown(Throwable error) {
        List<String> parts = new ArrayList<>();
        for (; error != null && parts.size() < 6; error = error.getCause()) {
            parts.add(error.toString());
        }
        return String.join(" <- ", parts);
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                quoted.append('\\');
            }
            quoted.append(letter < ' ' ? ' ' : letter);
        }
        return quoted.append('"').toString();
    }

    private static double now() {
        return System.currentTimeMillis() / 1000.0;
    }

    private static int number(String name) {
        return Integer.parseInt(System.getenv(name));
    }

    private static byte[] filled(char letter, int length) {
        return String.valueOf(letter).repeat(length).getBytes(StandardCharsets.US_ASCII);
    }

    private static void sleep(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException exception) {
            throw new IllegalStateException(exception);
        }
    }
}
